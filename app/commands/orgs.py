"""`orgs`: organisations and their members."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands.output import Json, emit
from app.commands.scope import OrgOption, as_service, within_org

app = typer.Typer(no_args_is_help=True, help="Show organisations, and manage their members.")


@app.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List all organisations."""
    from app.tenancy.orgs import list_orgs

    with as_service() as connection:
        found = list_orgs(connection)
    emit(found, as_json=as_json)


@app.command()
def members(*, org: OrgOption = None, as_json: Json = False) -> None:
    """List the members of an organisation."""
    from app.tenancy import orgs

    with within_org(org) as context:
        found = orgs.members(context.connection, context.tenant_id)
    emit(found, as_json=as_json)


@app.command()
def add_member(
    email: Annotated[str, typer.Argument(help="The person's e-mail address.")],
    *,
    role: Annotated[str, typer.Option("--role", help="member or admin.")] = "member",
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Add a person to an organisation, or change the person's role."""
    from app.tenancy import orgs

    with within_org(org) as context:
        done = orgs.add_member(context.connection, context.tenant_id, email, role)  # type: ignore[arg-type]  # checked there
    emit(done, as_json=as_json)
