"""Builders of rows, one for each table. Columns that a test does not name have any valid value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from uuid import UUID

from app.context import Connection

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The columns of a workspace that tests use."""

    id: UUID
    org_id: UUID
    name: str


def make_workspace(connection: Connection, name: str | None = None) -> Workspace:
    """Insert a workspace with an organisation of its own."""
    name = name or f"workspace {next(_numbers)}"
    org_id = _id(connection, "INSERT INTO tenancy.orgs (name) VALUES (%s) RETURNING id", [f"org of {name}"])
    statement = "INSERT INTO tenancy.workspaces (org_id, name) VALUES (%s, %s) RETURNING id"
    return Workspace(_id(connection, statement, [org_id, name]), org_id, name)


def make_user(connection: Connection) -> UUID:
    """Insert a person without memberships."""
    return _id(
        connection, "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [f"u{next(_numbers)}@example.org"]
    )


def make_member(connection: Connection, workspace: Workspace, role: str = "member") -> UUID:
    """Insert a person who is a member of a workspace."""
    user_id = make_user(connection)
    connection.execute(
        "INSERT INTO tenancy.workspace_members (workspace_id, user_id, role) VALUES (%s, %s, %s)",
        [workspace.id, user_id, role],
    )
    return user_id


def _id(connection: Connection, statement: str, parameters: Sequence[object]) -> UUID:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return UUID(str(row[0]))
