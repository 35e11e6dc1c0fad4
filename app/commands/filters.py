"""Which dead letters a command means: its options, and the filters that they come to."""

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
ErrorClass = Annotated[str | None, typer.Option("--error-class", help="Only with this class of error.")]
Fingerprint = Annotated[str | None, typer.Option("--fingerprint", help="Only this failure, as `dead list --group`.")]
Since = Annotated[str | None, typer.Option("--since", help="Died since: 2h, 30m, 7d or an ISO time.")]
Until = Annotated[str | None, typer.Option("--until", help="Died before: 2h, 30m, 7d or an ISO time.")]
Text = Annotated[str | None, typer.Option("--text", help="Whose error or event contains this.")]


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
    """The filters of a command; spans of time count back from the database's clock, which dates the letters.

    Raises `InvalidInput` for a time that is none.
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
