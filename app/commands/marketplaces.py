"""`marketplaces`: an organisation's accounts with paid marketplaces. No command prints an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.output import Json, emit
from app.commands.scope import OrgOption, within_org
from app.commands.secret_input import from_stdin, from_terminal, not_typed

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from pydantic import SecretStr

_KEY_VARIABLE = "TALLYMAN_MARKETPLACE_KEY"
_INSTEAD = f"--key-stdin or {_KEY_VARIABLE}"
_not_typed = not_typed("api_key", "api_key", _INSTEAD)

app = typer.Typer(no_args_is_help=True, help="Manage an organisation's accounts with marketplaces.")

_Marketplace = Annotated[str, typer.Argument(help="The marketplace's name, e.g. amazon.de.")]


@app.command(name="set")
def set_(
    marketplace: _Marketplace,
    *,
    key: Annotated[bool, typer.Option("--key", help="Ask for a new API key.")] = False,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the API key from the first line of standard input.")
    ] = False,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar=_KEY_VARIABLE, hidden=True, callback=_not_typed)
    ] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="URL of the API.")] = None,
    max_calls: Annotated[int | None, typer.Option("--max-calls", help="Calls at once, 1 to 100.")] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Also enable the account for workers.")] = False,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Create or change an account. Values that are not given stay unchanged.

    The API key comes from --key-stdin, from TALLYMAN_MARKETPLACE_KEY or, with --key, from a prompt.
    """
    from app.collection import accounts

    secret = _secret(api_key, key=key, key_stdin=key_stdin)
    with within_org(org) as context:
        done = accounts.set_account(context, marketplace, api_key=secret, base_url=base_url, max_calls=max_calls)
        if enable:
            done = accounts.enable_account(context, marketplace)
    emit(done, as_json=as_json)


@app.command()
def show(marketplace: _Marketplace, *, org: OrgOption = None, as_json: Json = False) -> None:
    """Show an account, without its API key."""
    from app.collection import accounts

    with within_org(org) as context:
        found = accounts.show_account(context, marketplace)
    emit(found, as_json=as_json)


@app.command(name="list")
def list_(*, org: OrgOption = None, as_json: Json = False) -> None:
    """List the organisation's accounts."""
    from app.collection import accounts

    with within_org(org) as context:
        found = accounts.list_accounts(context)
    emit(found, as_json=as_json)


@app.command()
def enable(marketplace: _Marketplace, *, org: OrgOption = None, as_json: Json = False) -> None:
    """Enable an account for workers."""
    from app.collection import accounts

    with within_org(org) as context:
        done = accounts.enable_account(context, marketplace)
    emit(done, as_json=as_json)


@app.command()
def disable(marketplace: _Marketplace, *, org: OrgOption = None, as_json: Json = False) -> None:
    """Disable an account. No further call begins."""
    from app.collection import accounts

    with within_org(org) as context:
        done = accounts.disable_account(context, marketplace)
    emit(done, as_json=as_json)


def _secret(api_key: str | None, *, key: bool, key_stdin: bool) -> SecretStr | None:
    from pydantic import SecretStr

    if key_stdin:
        return from_stdin("api_key")
    if key and api_key is None:
        return from_terminal("api_key", "API key: ", _INSTEAD)
    return None if api_key is None else SecretStr(api_key)
