"""For whom a command acts and through which connection: one transaction as `service_role`, committed at its end."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Connection, Context

WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        "-w",
        envvar="TALLYMAN_WORKSPACE",
        metavar="NAME_OR_ID",
        help="For which workspace; not needed while there is only one.",
    ),
]
"""The option of every command that acts for a workspace."""
Actor = Annotated[str, typer.Option("--actor", default_factory=getpass.getuser, help="Who you are, for the record.")]
"""The option of every command whose doing is recorded."""
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
"""The option of every command that destroys or repeats."""
CarrierOption = Annotated[str, typer.Option("--carrier", help="The carrier's name.")]
CarrierArgument = Annotated[str, typer.Argument(help="The carrier's name, e.g. coordinadora.")]


@contextmanager
def as_service() -> Iterator[Connection]:
    """A connection whose transaction is committed at the end, unless something is raised."""
    from app import database

    with database.connect() as connection:
        yield connection


@contextmanager
def acting_for(workspace: str | None) -> Iterator[Context]:
    """A context for the workspace with this name or id, or for the only one there is.

    Raises `NotFound`, or `InvalidInput` when it is not clear which one is meant.
    """
    from app.context import Context
    from app.tenancy.store import find_workspace, only_workspace

    with as_service() as connection:
        found = only_workspace(connection) if workspace is None else find_workspace(connection, workspace)
        yield Context.start(connection, found.id)
