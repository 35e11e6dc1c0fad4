"""A command's tenant, actor and connection: one transaction as `service_role`, committed at its end."""

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
        help="Workspace; optional if only one exists.",
    ),
]
"""The option of every command that acts for a workspace."""

OrgOption = Annotated[
    str | None,
    typer.Option(
        "--org",
        envvar="TALLYMAN_ORG",
        metavar="NAME_OR_ID",
        help="Organisation; optional if only one exists.",
    ),
]
"""The option of every command that acts for an organisation."""


def login(uid: int | None = None) -> str:
    """Return the account name of a user id (default: this process's), or `uid N` without an account.

    Read from the system, not from `$USER`: the variable may name another account, and a container often runs under an
    id without an account.
    """
    number = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


Actor = Annotated[
    str, typer.Option("--actor", default_factory=login, help="Your name, for the audit log; default: your login.")
]
"""The option of every command that writes to the audit log."""
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
"""The option of every command that asks for confirmation."""
CarrierOption = Annotated[str, typer.Option("--carrier", help="The carrier's name.")]
CarrierArgument = Annotated[str, typer.Argument(help="The carrier's name, e.g. coordinadora.")]


@contextmanager
def as_service() -> Iterator[Connection]:
    """Yield a connection. Its transaction is committed at the end, and rolled back on an exception."""
    from app import database

    with database.connect() as connection:
        yield connection


@contextmanager
def acting_for(workspace: str | None) -> Iterator[Context]:
    """Yield a context for the workspace with this name or id; None is the only workspace. Sets its zone for times.

    Raises `NotFound`, or `InvalidInput` if the workspace is ambiguous.
    """
    from app.context import Context
    from app.tenancy.store import find_workspace, only_workspace

    with as_service() as connection:
        found = only_workspace(connection) if workspace is None else find_workspace(connection, workspace)
        show_times_in(found.timezone)
        yield Context.start(connection, found.id)


@contextmanager
def within_org(org: str | None) -> Iterator[Context]:
    """Yield a context for the organisation with this name or id; None is the only one. Sets its zone for times.

    Raises `NotFound`, or `InvalidInput` if the organisation is ambiguous.
    """
    from app.context import Context
    from app.tenancy.orgs import find_org, only_org

    with as_service() as connection:
        found = only_org(connection) if org is None else find_org(connection, org)
        show_times_in(found.timezone)
        yield Context.start(connection, found.id)
