"""The options that select dead letters, and their conversion to filters."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from app.commands.spans import span

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Connection
    from app.engine.dead_letters.letters import Filters

Type = Annotated[str | None, typer.Option("--type", help="Only of this event type.")]
Tenant = Annotated[UUID | None, typer.Option("--tenant", help="Only of this workspace or organisation.")]
ErrorClass = Annotated[str | None, typer.Option("--error-class", help="Only with this error class.")]
Fingerprint = Annotated[
    str | None, typer.Option("--fingerprint", help="Only with this fingerprint of `dead list --group`.")
]
Since = Annotated[str | None, typer.Option("--since", help="Only failed since: 2h, 30m, 7d ago or an ISO time.")]
Until = Annotated[str | None, typer.Option("--until", help="Only failed before: 2h, 30m, 7d ago or an ISO time.")]
Text = Annotated[str | None, typer.Option("--text", help="Only with this text in the error or the event.")]


def filters(  # noqa: PLR0917 - the options of two commands, in one order
    connection: Connection,
    type_: str | None,
    tenant: UUID | None,
    error_class: str | None,
    fingerprint: str | None,
    since: str | None,
    until: str | None,
    text: str | None,
    resolved: bool | None,  # noqa: FBT001 - one of the filters
) -> Filters:
    """Return the filters for a command's options. Spans count back from the database's clock, as letters' times do.

    Raises `InvalidInput` for a value that is neither a span nor an ISO time.
    """
    from app.engine.dead_letters.letters import Filters

    began, ended = _instant(connection, "since", since), _instant(connection, "until", until)
    return Filters(type_, tenant, error_class, fingerprint, began, ended, text, resolved)


def _instant(connection: Connection, name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        from app.engine.dead_letters.letters import ago

        return ago(connection, span(f"--{name}", text))
