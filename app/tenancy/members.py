"""Members of workspaces, and the rights of the person of a request.

The rights are those of `auth.uid()`, so the checks run as the person (`app.database.as_person`). A tenant that the
person does not belong to is reported like one that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.errors import Forbidden, NotFound
from app.tenancy.people import Member, Role, make_member

_JOIN = """
INSERT INTO tenancy.workspace_members (workspace_id, user_id, role) VALUES (%s, %s, %s)
ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = excluded.role
"""
_MEMBERS = """
SELECT m.user_id, u.email, m.role FROM tenancy.workspace_members m JOIN auth.users u ON u.id = m.user_id
 WHERE m.workspace_id = %s ORDER BY u.email, m.user_id
"""
_RIGHTS = """
SELECT tenancy.is_workspace_member(%(id)s) AS of_workspace, tenancy.is_workspace_admin(%(id)s) AS admin_of_workspace,
       tenancy.is_org_member(%(id)s) AS of_org, tenancy.is_org_admin(%(id)s) AS admin_of_org
"""


@dataclass(frozen=True, slots=True)
class _Rights:
    of_workspace: bool
    admin_of_workspace: bool
    of_org: bool
    admin_of_org: bool


def add_to_workspace(connection: Connection, workspace_id: UUID, email: str, role: Role = "member") -> Member:
    """Make a person a member of a workspace, or change the role. Raises like `people.make_member`."""
    return make_member(connection, _JOIN, workspace_id, email, role)


def of_workspace(connection: Connection, workspace_id: UUID) -> list[Member]:
    """Return the members of a workspace, by e-mail address."""
    return connection.cursor(row_factory=class_row(Member)).execute(_MEMBERS, [workspace_id]).fetchall()


def check_workspace(connection: Connection, workspace_id: UUID) -> None:
    """Raise `NotFound` unless the person is a member of the workspace."""
    if not _rights(connection, workspace_id).of_workspace:
        raise NotFound(f"workspace: you have no workspace {workspace_id}")


def check_org(connection: Connection, org_id: UUID) -> None:
    """Raise `NotFound` unless the person is a member of the organisation."""
    if not _rights(connection, org_id).of_org:
        raise NotFound(f"org: you have no organisation {org_id}")


def check_admin(connection: Connection, tenant_id: UUID) -> None:
    """Raise `NotFound` for another's workspace or organisation, and `Forbidden` unless the person is its admin."""
    rights = _rights(connection, tenant_id)
    if not (rights.of_workspace or rights.of_org):
        raise NotFound(f"tenant: you have no workspace or organisation {tenant_id}")
    if not (rights.admin_of_workspace or rights.admin_of_org):
        raise Forbidden("role: only an admin of this workspace or organisation may do this")


def _rights(connection: Connection, tenant_id: UUID) -> _Rights:
    found = connection.cursor(row_factory=class_row(_Rights)).execute(_RIGHTS, {"id": tenant_id}).fetchone()
    if found is None:
        raise AssertionError("a query without FROM has one row")
    return found
