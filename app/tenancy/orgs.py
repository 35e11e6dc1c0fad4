"""Find organisations, and add their members."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.errors import InvalidInput, NotFound
from app.tenancy.choice import NAMED, as_id, the_one, the_only
from app.tenancy.people import Member, Role, make_member

_SELECT = """
SELECT o.id, o.name, o.created_at,
       coalesce((SELECT w.timezone FROM tenancy.workspaces w WHERE w.org_id = o.id ORDER BY w.created_at, w.id LIMIT 1),
                'UTC') AS timezone
  FROM tenancy.orgs o
"""
_LIST = f"{_SELECT} ORDER BY o.name, o.id LIMIT %(limit)s"
_FIND = f"{_SELECT} WHERE o.name = %(wanted)s OR o.id = %(id)s ORDER BY o.name, o.id"
_JOIN = """
INSERT INTO tenancy.org_members (org_id, user_id, role) VALUES (%s, %s, %s)
ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role
"""
_MEMBERS = """
SELECT m.user_id, u.email, m.role FROM tenancy.org_members m JOIN auth.users u ON u.id = m.user_id
 WHERE m.org_id = %s ORDER BY u.email, m.user_id
"""


@dataclass(frozen=True, slots=True)
class Org:
    """An organisation: the tenant of collection runs. `timezone`: that of its oldest workspace, an IANA name."""

    id: UUID
    name: str
    created_at: datetime
    timezone: str


def list_orgs(connection: Connection, limit: int | None = None) -> list[Org]:
    """Return at most `limit` organisations, by name."""
    return connection.cursor(row_factory=class_row(Org)).execute(_LIST, {"limit": limit}).fetchall()


def find_org(connection: Connection, wanted: str) -> Org:
    """Return the organisation with this id, else with this name.

    Raises `NotFound` if there is none, and `InvalidInput`, with their ids, if several have the name.
    """
    search = {"wanted": wanted, "id": as_id(wanted)}
    return the_one("org", connection.cursor(row_factory=class_row(Org)).execute(_FIND, search).fetchall(), wanted)


def only_org(connection: Connection) -> Org:
    """Return the only organisation. Raises `NotFound` if there is none and `InvalidInput` if there are several."""
    return the_only("org", list_orgs(connection, NAMED + 1))


def members(connection: Connection, org_id: UUID) -> list[Member]:
    """Return the members of an organisation, by e-mail address."""
    return connection.cursor(row_factory=class_row(Member)).execute(_MEMBERS, [org_id]).fetchall()


def add_member(connection: Connection, org_id: UUID, email: str, role: Role = "member") -> Member:
    """Make a person a member of an organisation, or change the role. Creates a person with a new e-mail address.

    Raises `InvalidInput` for a wrong address or role. Raises `SetupError` for an unknown address if people are created
    elsewhere (Supabase).
    """
    return make_member(connection, _JOIN, org_id, email, role)


def find_member(connection: Connection, org_id: UUID, wanted: str | None) -> Member:
    """Return the member with this e-mail address or id; for None the only admin, or the only member.

    Raises `NotFound` if there is none, and `InvalidInput` if several are possible.
    """
    everybody = members(connection, org_id)
    if wanted is not None:
        found = [one for one in everybody if (one.email or "").lower() == wanted.lower() or str(one.user_id) == wanted]
        if not found:
            raise NotFound(f"user: {wanted!r} is no member of this organisation; `orgs members` shows them")
        return found[0]
    found = [one for one in everybody if one.role == "admin"] or everybody
    if not found:
        raise NotFound("user: the organisation has no members; `orgs add-member EMAIL --role admin`")
    if len(found) > 1:
        raise InvalidInput("user: there are several members; choose one with --user EMAIL")
    return found[0]
