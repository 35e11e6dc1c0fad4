"""`explain`: why something does not run, in typed reasons."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from app.commands.output import Json, emit, local, note, show_times_in
from app.commands.scope import as_service

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Connection
    from app.engine.inspect.reasons import Reason

app = typer.Typer(no_args_is_help=True, help="Why a job, an item, an event or a workspace's work does not go on.")


@app.command()
def job(
    job: Annotated[UUID, typer.Argument(metavar="JOB", help="A robot job's id.")], *, as_json: Json = False
) -> None:
    """Say why a robot job has not ended, or that it has."""
    from app.logistics.explain import explain_job, workspace_of

    with as_service() as connection:
        found = explain_job(connection, job)
        _show_times_of(connection, workspace_of(connection, job))
    show_reasons(found, as_json=as_json)


@app.command()
def item(
    item: Annotated[UUID, typer.Argument(metavar="ITEM", help="The id of a robot job's item.")],
    *,
    as_json: Json = False,
) -> None:
    """Say why an item has no result, or which one it has."""
    from app.logistics.explain import explain_item, workspace_of

    with as_service() as connection:
        found = explain_item(connection, item)
        _show_times_of(connection, workspace_of(connection, item))
    show_reasons(found, as_json=as_json)


@app.command()
def event(
    event: Annotated[UUID, typer.Argument(metavar="EVENT", help="An event's id.")], *, as_json: Json = False
) -> None:
    """Say where an event is and why it has not been applied, or that it has."""
    from app.engine.inspect.explain import explain_event, tenant_of

    with as_service() as connection:
        found = explain_event(connection, event)
        _show_times_of(connection, tenant_of(connection, event))
    show_reasons(found, as_json=as_json)


@app.command()
def tenant(
    tenant: Annotated[str, typer.Argument(metavar="WORKSPACE", help="A workspace's name or id.")],
    *,
    as_json: Json = False,
) -> None:
    """Say what of a workspace waits and why, and which of its carriers cannot be used."""
    from app.logistics.explain import explain_workspace
    from app.tenancy.store import find_workspace

    with as_service() as connection:
        workspace = find_workspace(connection, tenant)
        show_times_in(workspace.timezone)
        found = explain_workspace(connection, workspace.id)
    show_reasons(found, as_json=as_json)


def _show_times_of(connection: Connection, workspace_id: UUID | None) -> None:
    from app.tenancy.store import timezone_of

    if workspace_id is not None and (zone := timezone_of(connection, workspace_id)) is not None:
        show_times_in(zone)


def show_reasons(reasons: list[Reason], *, as_json: bool) -> None:
    """Print reasons, or that nothing waits."""
    emit(
        [{"kind": one.kind, "sentence": one.sentence, **asdict(one)} for one in reasons],
        as_json=as_json,
        human=[{"kind": one.kind, "why": one.with_times(local).sentence} for one in reasons],
    )
    if not reasons:
        note("nothing of it waits")
