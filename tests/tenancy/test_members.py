"""Members of workspaces, and the rights of the person of a request."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from app.context import Connection
from app.database import as_person
from app.errors import Forbidden, NotFound
from app.tenancy.members import add_to_workspace, check_admin, check_org, check_workspace, of_workspace
from tests.helpers.factories import Workspace, make_user

CHECKS = {"workspace": check_workspace, "org": check_org, "admin": check_admin}


def test_a_member_is_added_once_and_a_second_time_changes_the_role(
    connection: Connection, workspace: Workspace
) -> None:
    """The address is compared without case."""
    first = add_to_workspace(connection, workspace.id, "ana@example.org")
    again = add_to_workspace(connection, workspace.id, "Ana@example.org", "admin")
    assert first.user_id == again.user_id
    assert [(one.email, one.role) for one in of_workspace(connection, workspace.id)] == [("ana@example.org", "admin")]


def test_the_rights_of_a_person_are_those_of_the_memberships(connection: Connection, workspace: Workspace) -> None:
    """A tenant of others is reported like one that does not exist. A member is told that an admin's role is missing."""
    people = {
        "member": add_to_workspace(connection, workspace.id, "m@example.org").user_id,
        "admin": add_to_workspace(connection, workspace.id, "a@example.org", "admin").user_id,
        "org admin": make_user(connection),
        "nonmember": make_user(connection),
    }
    connection.execute(
        "INSERT INTO tenancy.org_members VALUES (%s, %s, 'admin')", [workspace.org_id, people["org admin"]]
    )
    found = {
        (who, check, what): _outcome(connection, user_id, check, tenant)
        for who, user_id in people.items()
        for check in CHECKS
        for what, tenant in {"workspace": workspace.id, "org": workspace.org_id, "unknown": uuid4()}.items()
    }
    assert {key: outcome for key, outcome in found.items() if outcome is not NotFound} == {
        ("member", "workspace", "workspace"): None,
        ("member", "admin", "workspace"): Forbidden,
        ("admin", "workspace", "workspace"): None,
        ("admin", "admin", "workspace"): None,
        ("org admin", "org", "org"): None,
        ("org admin", "admin", "org"): None,
    }


def _outcome(connection: Connection, user_id: UUID, check: str, tenant: UUID) -> type[Exception] | None:
    try:
        with as_person(connection, user_id):
            CHECKS[check](connection, tenant)
    except (NotFound, Forbidden) as error:
        return type(error)
    return None


def test_without_a_person_nothing_is_allowed(connection: Connection, workspace: Workspace) -> None:
    """Outside `as_person`, the checks find no membership."""
    with pytest.raises(NotFound):
        check_workspace(connection, workspace.id)
