"""`carriers`: a workspace's accounts with carriers' portals. A password goes in and never comes out."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import Json, emit
from app.commands.scope import CarrierArgument, WorkspaceOption, acting_for
from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from pydantic import SecretStr

    from app.logistics.carriers import Carrier

_PASSWORD_VARIABLE = "TALLYMAN_PORTAL_PASSWORD"  # noqa: S105 - the name of a variable

app = typer.Typer(no_args_is_help=True, help="A workspace's accounts with carriers' portals.")


def _not_typed(context: typer.Context, value: str | None) -> str | None:
    """Refuse a password among the arguments: everybody on this machine could read it."""
    source = context.get_parameter_source("portal_password")
    if value is not None and source is not None and source.name == "COMMANDLINE":
        raise InvalidInput(
            f"a password is no argument: use --password-stdin, {_PASSWORD_VARIABLE}, or wait to be asked"
        )
    return value


@app.command(name="set")
def set_(
    carrier: CarrierArgument,
    *,
    username: Annotated[str | None, typer.Option("--username", help="Its password is asked for.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Take the first line of the standard input as the password.")
    ] = False,
    portal_password: Annotated[
        str | None,
        typer.Option("--portal-password", envvar=_PASSWORD_VARIABLE, hidden=True, callback=_not_typed),
    ] = None,
    portal_url: Annotated[str | None, typer.Option("--portal-url", help="Where the portal answers.")] = None,
    max_sessions: Annotated[int | None, typer.Option("--max-sessions", help="Portal calls at once, 1 to 100.")] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Let robots use it from now on.")] = False,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Write down an account; what is not given stays as it is.

    The password of --username comes from --password-stdin, from TALLYMAN_PORTAL_PASSWORD, or is asked for.
    """
    from app.logistics import carriers

    password = _from_stdin() if password_stdin else _beside(username, portal_password)
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
    """Let robots use an account."""
    from app.logistics import carriers

    with acting_for(workspace) as context:
        done = carriers.enable_carrier(context, carrier)
    emit(done, as_json=as_json)


@app.command()
def disable(carrier: CarrierArgument, *, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
    """Let robots use an account no more."""
    from app.logistics import carriers

    with acting_for(workspace) as context:
        done = carriers.disable_carrier(context, carrier)
    emit(done, as_json=as_json)


def _from_stdin() -> SecretStr:
    from pydantic import SecretStr

    line = sys.stdin.buffer.readline()
    try:
        return SecretStr(line.decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        # Without a cause, which would show a part of it.
        raise InvalidInput("password: is not UTF-8") from None


def _beside(username: str | None, given: str | None) -> SecretStr | None:
    """The password that goes with a new username."""
    from pydantic import SecretStr

    if username is None:
        return None
    if given is None and not sys.stdin.isatty():
        raise InvalidInput(f"password: there is nobody to ask: use --password-stdin or {_PASSWORD_VARIABLE}")
    return SecretStr(_ask() if given is None else given)


def _ask() -> str:
    # Not typer.prompt: it says "Password:" a moment before it stops the terminal from showing what is typed.
    try:
        return getpass.getpass()
    except EOFError:
        raise typer.Abort from None


def _line(carrier: Carrier) -> dict[str, Any]:
    names = ("carrier", "portal_username", "has_password", "portal_url", "max_sessions", "is_enabled")
    return {name: getattr(carrier, name) for name in names}
