"""`tokens`: bearer tokens of the API, for development."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands.output import Json, emit
from app.commands.scope import as_service

app = typer.Typer(no_args_is_help=True, help="Issue bearer tokens of the API, for development.")


@app.callback()
def _group() -> None:
    """Keep `issue` a subcommand, although it is the only one."""


@app.command()
def issue(
    *,
    user: Annotated[str, typer.Option("--user", help="E-mail address or id of the person.")],
    minutes: Annotated[float, typer.Option("--minutes", help="Time until the token expires.")] = 60,
    as_json: Json = False,
) -> None:
    """Print an HS256 token for a person, signed with TALLYMAN_TOKEN_SECRET.

    With the embedded server no secret is needed. In production, the issuer of your tokens makes them.
    """
    from app.settings import settings
    from app.tenancy.people import find_person
    from app.web.tokens import issue

    with as_service() as connection:
        user_id = find_person(connection, user)
    token = issue(settings(), user_id, minutes=minutes)
    emit({"user_id": user_id, "token": token}, as_json=as_json, human=token)
