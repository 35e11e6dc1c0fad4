"""`callbacks`: the secrets that sign the results of an external robot service. Only `add` prints a secret, once."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from app.commands.output import Json, emit
from app.commands.scope import WorkspaceOption, acting_for
from app.commands.secret_input import from_stdin

app = typer.Typer(
    no_args_is_help=True,
    help="Manage the secrets that sign results which an external robot service posts to /callbacks/robot/items.",
)


@app.command()
def add(
    *,
    secret_stdin: Annotated[
        bool,
        typer.Option("--secret-stdin", help="Read the service's secret from the first line of standard input."),
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Add a secret: the service's own, or a new one, which is printed once.

    A workspace has at most two secrets. To rotate, add the new one, change the service, then remove the old one.
    """
    from app.logistics import callback_secrets

    secret = from_stdin("secret") if secret_stdin else callback_secrets.new_secret()
    with acting_for(workspace) as context:
        added = callback_secrets.add_secret(context, secret)
    shown = {} if secret_stdin else {"secret": secret.get_secret_value()}
    path = f"/callbacks/robot/items?workspace={added.workspace_id}"
    emit({"id": added.id, "path": path, "created_at": added.created_at, **shown}, as_json=as_json)


@app.command(name="list")
def list_(*, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
    """List the workspace's secrets by id, without the secrets themselves."""
    from app.logistics import callback_secrets

    with acting_for(workspace) as context:
        found = callback_secrets.list_secrets(context)
    emit(found, as_json=as_json)


@app.command()
def remove(
    secret_id: Annotated[UUID, typer.Argument(metavar="ID", help="The id of the secret, from `callbacks list`.")],
    *,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Remove a secret. Requests that are signed with it alone are refused from now on."""
    from app.logistics import callback_secrets

    with acting_for(workspace) as context:
        removed = callback_secrets.remove_secret(context, secret_id)
    emit(removed, as_json=as_json)
