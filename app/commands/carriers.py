"""`carriers`: a workspace's accounts at carriers' portals. No command prints a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import Json, emit
from app.commands.scope import CarrierArgument, WorkspaceOption, acting_for
from app.commands.secret_input import from_stdin, from_terminal, not_typed

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from pydantic import SecretStr

    from app.logistics.carriers import Carrier

_PASSWORD_VARIABLE = "TALLYMAN_PORTAL_PASSWORD"  # noqa: S105 - the name of a variable
_INSTEAD = f"--password-stdin or {_PASSWORD_VARIABLE}"
_not_typed = not_typed("portal_password", "password", _INSTEAD)

app = typer.Typer(no_args_is_help=True, help="Manage a workspace's accounts at carriers' portals.")


@app.command(name="set")
def set_(
    carrier: CarrierArgument,
    *,
    username: Annotated[str | None, typer.Option("--username", help="New username; prompts for the password.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
    ] = False,
    portal_password: Annotated[
        str | None,
        typer.Option("--portal-password", envvar=_PASSWORD_VARIABLE, hidden=True, callback=_not_typed),
    ] = None,
    portal_url: Annotated[str | None, typer.Option("--portal-url", help="URL of the portal.")] = None,
    max_sessions: Annotated[int | None, typer.Option("--max-sessions", help="Portal calls at once, 1 to 100.")] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Also enable the account for robots.")] = False,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Create or change an account. Fields that are not given keep their values.

    The password for --username comes from --password-stdin, from TALLYMAN_PORTAL_PASSWORD or from a prompt.
    """
    from app.logistics import carriers

    password = from_stdin("password") if password_stdin else _beside(username, portal_password)
    with acting_for(workspace) as context:
        done = carriers.set_carrier(
            context,
            carrier,
            username=username,
            password=password,
            portal_url=portal_url,
            max_sessions=max_sessions,
        )
        if enable:
            done = carriers.enable_carrier(context, carrier)
    emit(done, as_json=as_json)


@app.command()
def show(carrier: CarrierArgument, *, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
    """Show an account, without its password."""
    from app.logistics import carriers

    with acting_for(workspace) as context:
        found = carriers.show_carrier(context, carrier)
    emit(found, as_json=as_json)


@app.command(name="list")
def list_(*, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
    """List the workspace's accounts."""
    from app.logistics import carriers

    with acting_for(workspace) as context:
        found = carriers.list_carriers(context)
    emit(found, as_json=as_json, human=[_line(one) for one in found])


@app.command()
def enable(carrier: CarrierArgument, *, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
    """Enable an account for robots."""
    from app.logistics import carriers

    with acting_for(workspace) as context:
        done = carriers.enable_carrier(context, carrier)
    emit(done, as_json=as_json)


@app.command()
def disable(carrier: CarrierArgument, *, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
    """Disable an account for robots."""
    from app.logistics import carriers

    with acting_for(workspace) as context:
        done = carriers.disable_carrier(context, carrier)
    emit(done, as_json=as_json)


def _beside(username: str | None, given: str | None) -> SecretStr | None:
    """Return the password for a new username; None without one. Raises `InvalidInput` without a terminal."""
    from pydantic import SecretStr

    if username is None:
        return None
    return from_terminal("password", "Password: ", _INSTEAD) if given is None else SecretStr(given)


def _line(carrier: Carrier) -> dict[str, Any]:
    names = ("carrier", "portal_username", "has_password", "portal_url", "max_sessions", "is_enabled")
    return {name: getattr(carrier, name) for name in names}
