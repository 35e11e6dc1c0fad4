"""For whom a command acts and through which connection: one transaction as `service_role`, committed at its end."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.output import show_times_in

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


def login(uid: int | None = None) -> str:
    """The name of the account with this user id (this process's own unless given), `uid N` where it has none.

    From the system, not from `$USER`: a container often runs under an id without an account, and a variable may be
    another person's.
    """
    number = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


Actor = Annotated[
    str, typer.Option("--actor", default_factory=login, help="Who you are, for the record; your login unless given.")
]
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
    """A context for the workspace with this name or id, or for the only one there is; times are shown in its zone.

    Raises `NotFound`, or `InvalidInput` when it is not clear which one is meant.
    """
    from app.context import Context
    from app.tenancy.store import find_workspace, only_workspace

    with as_service() as connection:
        found = only_workspace(connection) if workspace is None else find_workspace(connection, workspace)
        show_times_in(found.timezone)
        yield Context.start(connection, found.id)
