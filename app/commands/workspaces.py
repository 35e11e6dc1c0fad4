"""`workspaces`: create and list workspaces, and manage their members."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from app.commands.output import Json, emit
from app.commands.scope import WorkspaceOption, acting_for, as_service

app = typer.Typer(no_args_is_help=True, help="Manage workspaces: the tenants of orders, carriers and robot jobs.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the workspace.")],
    *,
    org: Annotated[
        str | None, typer.Option("--org", help="Name of the new organisation; default: the workspace's name.")
    ] = None,
    org_id: Annotated[UUID | None, typer.Option("--org-id", help="Id of an existing organisation.")] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="IANA time zone for printed times.")] = "America/Bogota",
    as_json: Json = False,
) -> None:
    """Create a workspace."""
    from app.tenancy.store import create_workspace

    with as_service() as connection:
        made = create_workspace(connection, name, org_id=org_id, org_name=org, timezone=timezone)
    emit(made, as_json=as_json)


@app.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List all workspaces."""
    from app.tenancy.store import list_workspaces

    with as_service() as connection:
        found = list_workspaces(connection)
    emit(found, as_json=as_json)


@app.command()
def members(*, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
    """List the members of a workspace."""
    from app.tenancy.members import of_workspace

    with acting_for(workspace) as context:
        found = of_workspace(context.connection, context.tenant_id)
    emit(found, as_json=as_json)


@app.command()
def add_member(
    email: Annotated[str, typer.Argument(help="The person's e-mail address.")],
    *,
    role: Annotated[str, typer.Option("--role", help="member or admin.")] = "member",
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Add a person to a workspace, or change the person's role."""
    from app.tenancy.members import add_to_workspace

    with acting_for(workspace) as context:
        done = add_to_workspace(context.connection, context.tenant_id, email, role)  # type: ignore[arg-type]  # checked there
    emit(done, as_json=as_json)
