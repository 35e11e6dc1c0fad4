"""`explain`: show typed reasons why work has not ended."""

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

app = typer.Typer(no_args_is_help=True, help="Show why a job, an item, an event or a workspace's work waits.")


@app.command()
def job(job: Annotated[UUID, typer.Argument(metavar="JOB", help="A job's id.")], *, as_json: Json = False) -> None:
    """Show why a job has not ended."""
    from app.engine.registration import explain_one, tenant_of
    from app.program import EXPLAINERS

    with as_service() as connection:
        found = explain_one(EXPLAINERS, "job", connection, job)
        show_times_of(connection, tenant_of(EXPLAINERS, connection, job))
    show_reasons(found, as_json=as_json)


@app.command()
def item(
    item: Annotated[UUID, typer.Argument(metavar="ITEM", help="The id of a job's item.")],
    *,
    as_json: Json = False,
) -> None:
    """Show why an item has no result, or its result."""
    from app.engine.registration import explain_one, tenant_of
    from app.program import EXPLAINERS

    with as_service() as connection:
        found = explain_one(EXPLAINERS, "item", connection, item)
        show_times_of(connection, tenant_of(EXPLAINERS, connection, item))
    show_reasons(found, as_json=as_json)


@app.command()
def event(
    event: Annotated[UUID, typer.Argument(metavar="EVENT", help="An event's id.")], *, as_json: Json = False
) -> None:
    """Show an event's state and why it has not been applied."""
    from app.engine.inspect.explain import explain_event, tenant_of

    with as_service() as connection:
        found = explain_event(connection, event)
        show_times_of(connection, tenant_of(connection, event))
    show_reasons(found, as_json=as_json)


@app.command()
def tenant(
    tenant: Annotated[str, typer.Argument(metavar="WORKSPACE", help="A workspace's name or id.")],
    *,
    as_json: Json = False,
) -> None:
    """Show a workspace's waiting work and why it waits. Includes the domains' reasons, e.g. disabled carriers."""
    from app.engine.inspect.explain import explain
    from app.engine.registration import explain_tenant
    from app.program import EXPLAINERS
    from app.tenancy.store import find_workspace

    with as_service() as connection:
        workspace = find_workspace(connection, tenant)
        show_times_in(workspace.timezone)
        waiting = explain(connection, {"tenantid": str(workspace.id)})
        found = explain_tenant(EXPLAINERS, connection, workspace.id, waiting)
    show_reasons(found, as_json=as_json)


def show_times_of(connection: Connection, workspace_id: UUID | None) -> None:
    """Show the times of this command in the workspace's time zone."""
    from app.tenancy.store import timezone_of

    if workspace_id is not None and (zone := timezone_of(connection, workspace_id)) is not None:
        show_times_in(zone)


def show_reasons(reasons: list[Reason], *, as_json: bool) -> None:
    """Print reasons; without any, a note that nothing waits."""
    emit(
        [{"kind": one.kind, "sentence": one.sentence, **asdict(one)} for one in reasons],
        as_json=as_json,
        human=[{"kind": one.kind, "why": one.with_times(local).sentence} for one in reasons],
    )
    if not reasons:
        note("nothing waits")
