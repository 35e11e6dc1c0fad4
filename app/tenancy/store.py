"""Create, list and find organisations and workspaces."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.context import Connection
from app.errors import InvalidInput, NotFound
from app.tenancy.choice import NAMED, as_id, the_one, the_only


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace: the tenant that owns orders, carriers and robot jobs. `timezone`: an IANA name."""

    id: UUID
    name: str
    org_id: UUID
    org_name: str
    timezone: str
    created_at: datetime


_IS_TIMEZONE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_timezone_names WHERE name = %s) AS known"
_CREATE_ORG = "INSERT INTO tenancy.orgs (name) VALUES (%s) RETURNING id"
_ORG_EXISTS = "SELECT EXISTS (SELECT FROM tenancy.orgs WHERE id = %s) AS known"
_CREATE = """
WITH made AS (
    INSERT INTO tenancy.workspaces (org_id, name, timezone)
    VALUES (%(org_id)s, %(name)s, %(timezone)s) RETURNING *
)
SELECT made.id, made.name, made.org_id, o.name AS org_name, made.timezone, made.created_at
  FROM made JOIN tenancy.orgs o ON o.id = made.org_id
"""
_LIST = """
SELECT w.id, w.name, w.org_id, o.name AS org_name, w.timezone, w.created_at
  FROM tenancy.workspaces w JOIN tenancy.orgs o ON o.id = w.org_id
 ORDER BY w.name, w.id
 LIMIT %(limit)s
"""
_FIND = """
SELECT w.id, w.name, w.org_id, o.name AS org_name, w.timezone, w.created_at
  FROM tenancy.workspaces w JOIN tenancy.orgs o ON o.id = w.org_id
 WHERE w.name = %(wanted)s OR w.id = %(id)s
 ORDER BY w.name, w.id
"""


def create_workspace(
    connection: Connection,
    name: str,
    *,
    org_id: UUID | None = None,
    org_name: str | None = None,
    timezone: str = "America/Bogota",
) -> Workspace:
    """Create a workspace in the organisation `org_id`, or in a new organisation `org_name` (default: `name`).

    Raises `InvalidInput` for an empty name, an unknown time zone, or if both `org_id` and `org_name` are given, and
    `NotFound` for an unknown organisation.
    """
    if org_id is not None and org_name is not None:
        raise InvalidInput("org: give the id of an organisation that exists or the name of a new one, not both")
    name = _named("name", name)
    if not _yes(connection, _IS_TIMEZONE, timezone):
        raise InvalidInput(f"timezone: {timezone!r} is unknown; give an IANA name such as America/Bogota")
    with connection.transaction():
        org_id = _existing_org(connection, org_id) if org_id else _new_org(connection, org_name or name)
        values = {"org_id": org_id, "name": name, "timezone": timezone}
        made = connection.cursor(row_factory=class_row(Workspace)).execute(_CREATE, values).fetchone()
    if made is None:
        raise AssertionError("INSERT ... RETURNING returned nothing")
    return made


def list_workspaces(connection: Connection, limit: int | None = None) -> list[Workspace]:
    """Return at most `limit` workspaces that the connection's role may read, by name."""
    return connection.cursor(row_factory=class_row(Workspace)).execute(_LIST, {"limit": limit}).fetchall()


def find_workspace(connection: Connection, wanted: str) -> Workspace:
    """Return the workspace with this id, else with this name.

    Raises `NotFound` if there is none, and `InvalidInput`, with their ids, if several have the name.
    """
    search = {"wanted": wanted, "id": as_id(wanted)}
    found = connection.cursor(row_factory=class_row(Workspace)).execute(_FIND, search).fetchall()
    return the_one("workspace", found, wanted)


def timezone_of(connection: Connection, workspace_id: UUID) -> str | None:
    """Return the time zone of a workspace, an IANA name; None if there is no such workspace."""
    row = connection.execute("SELECT timezone FROM tenancy.workspaces WHERE id = %s", [workspace_id]).fetchone()
    return None if row is None else str(row[0])


def only_workspace(connection: Connection) -> Workspace:
    """Return the only workspace. Raises `NotFound` if there is none and `InvalidInput` if there are several."""
    return the_only("workspace", list_workspaces(connection, NAMED + 1))


def _existing_org(connection: Connection, org_id: UUID) -> UUID:
    if not _yes(connection, _ORG_EXISTS, org_id):
        raise NotFound(f"org: there is no organisation {org_id}; `workspaces list` shows them")
    return org_id


def _new_org(connection: Connection, name: str) -> UUID:
    made = connection.cursor(row_factory=scalar_row).execute(_CREATE_ORG, [_named("org", name)]).fetchone()
    return UUID(str(made))


def _named(what: str, name: str) -> str:
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise InvalidInput(f"{what}: must not be empty or hold control characters")
    return name


def _yes(connection: Connection, question: LiteralString, value: object) -> bool:
    return bool(connection.cursor(row_factory=scalar_row).execute(question, [value]).fetchone())
