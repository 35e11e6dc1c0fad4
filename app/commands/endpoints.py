"""`messages endpoints`: the URLs that Twilio posts messages to. No command prints an auth token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from app.commands.output import Json, emit
from app.commands.scope import as_service
from app.commands.secret_input import ask, from_stdin

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from pydantic import SecretStr

app = typer.Typer(no_args_is_help=True, help="Manage the URLs that Twilio posts messages to.")

EndpointArgument = Annotated[
    UUID, typer.Argument(metavar="ID", help="The endpoint's id, from `messages endpoints list`.")
]
TokenStdin = Annotated[
    bool, typer.Option("--auth-token-stdin", help="Read the auth token from the first line of standard input.")
]


@app.command()
def add(
    account_sid: Annotated[str, typer.Argument(metavar="ACCOUNT_SID", help="The account at Twilio: AC...")],
    *,
    auth_token_stdin: TokenStdin = False,
    as_json: Json = False,
) -> None:
    """Add an endpoint. Its URL is printed once: set it at Twilio as the webhook for incoming messages."""
    from app.messaging import endpoints
    from app.settings import settings

    auth_token = _auth_token(from_stdin_=auth_token_stdin)
    with as_service() as connection:
        added, token = endpoints.add_endpoint(connection, account_sid, auth_token)
    base = settings().public_url or ""
    url = f"{base}/webhooks/twilio/{token.get_secret_value()}"
    emit({"id": added.id, "url": url, "account_sid": added.account_sid}, as_json=as_json)


@app.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List the endpoints, without their tokens."""
    from app.messaging import endpoints

    with as_service() as connection:
        found = endpoints.list_endpoints(connection)
    emit(found, as_json=as_json)


@app.command()
def rotate(endpoint_id: EndpointArgument, *, auth_token_stdin: TokenStdin = False, as_json: Json = False) -> None:
    """Accept a new auth token beside the present one. Do this before you promote it at Twilio."""
    from app.messaging import endpoints

    auth_token = _auth_token(from_stdin_=auth_token_stdin)
    with as_service() as connection:
        done = endpoints.rotate_auth_token(connection, endpoint_id, auth_token)
    emit(done, as_json=as_json)


@app.command()
def retire(endpoint_id: EndpointArgument, *, as_json: Json = False) -> None:
    """Accept the newest auth token alone. Do this after you have promoted it at Twilio."""
    from app.messaging import endpoints

    with as_service() as connection:
        done = endpoints.retire_auth_token(connection, endpoint_id)
    emit(done, as_json=as_json)


@app.command()
def enable(endpoint_id: EndpointArgument, *, as_json: Json = False) -> None:
    """Enable an endpoint."""
    _switch(endpoint_id, enabled=True, as_json=as_json)


@app.command()
def disable(endpoint_id: EndpointArgument, *, as_json: Json = False) -> None:
    """Disable an endpoint: every request to it is refused."""
    _switch(endpoint_id, enabled=False, as_json=as_json)


def _switch(endpoint_id: UUID, *, enabled: bool, as_json: bool) -> None:
    from app.messaging import endpoints

    with as_service() as connection:
        done = endpoints.switch_endpoint(connection, endpoint_id, enabled=enabled)
    emit(done, as_json=as_json)


def _auth_token(*, from_stdin_: bool) -> SecretStr:
    from pydantic import SecretStr

    return from_stdin("auth_token") if from_stdin_ else SecretStr(ask("Auth token: "))
