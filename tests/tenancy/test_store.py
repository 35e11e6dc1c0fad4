"""Organisations and workspaces."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.context import Connection
from app.database import as_person
from app.errors import InvalidInput, NotFound
from app.tenancy.store import create_workspace, find_workspace, list_workspaces, only_workspace
from tests.helpers import factories


def test_a_workspace_has_an_organisation_of_its_own(connection: Connection) -> None:
    """By default it is new and has the workspace's name."""
    made = create_workspace(connection, "  Acme   S.A. ")
    assert (made.name, made.org_name, made.timezone) == ("Acme S.A.", "Acme S.A.", "America/Bogota")
    assert create_workspace(connection, "Acme S.A.").org_id != made.org_id


def test_an_organisation_has_several_workspaces(connection: Connection) -> None:
    """A workspace can join one by its id."""
    first = create_workspace(connection, "Shop", org_name="Holding", timezone="Europe/Madrid")
    second = create_workspace(connection, "Stock", org_id=first.org_id)
    assert (second.org_id, second.org_name) == (first.org_id, "Holding")
    assert list_workspaces(connection) == [first, second]


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "", "america/bogota", "EST5+3", "-05:00"])
def test_a_time_zone_is_one_that_the_database_knows(connection: Connection, timezone: str) -> None:
    """Another one is refused, and nothing is created."""
    with pytest.raises(InvalidInput, match="timezone"):
        create_workspace(connection, "Acme", timezone=timezone)
    assert list_workspaces(connection) == []


@pytest.mark.parametrize("name", ["", " \t", "a\x07b"])
def test_a_name_is_printable(connection: Connection, name: str) -> None:
    """An empty name, or one with control characters, is refused."""
    with pytest.raises(InvalidInput, match="name"):
        create_workspace(connection, name)


def test_an_organisation_is_given_once_and_exists(connection: Connection) -> None:
    """An unknown id is `NotFound`. An id and a name together are refused."""
    with pytest.raises(NotFound, match="organisation"):
        create_workspace(connection, "Acme", org_id=uuid4())
    with pytest.raises(InvalidInput, match="not both"):
        create_workspace(connection, "Acme", org_id=uuid4(), org_name="Holding")


def test_a_workspace_is_found_by_name_or_id(connection: Connection) -> None:
    """An id comes before a name that looks like one."""
    acme = create_workspace(connection, "Acme")
    create_workspace(connection, str(acme.id))
    assert find_workspace(connection, "Acme") == acme
    assert find_workspace(connection, str(acme.id).upper()) == acme


def test_an_unknown_workspace_names_the_remedy(connection: Connection) -> None:
    """The error has the command."""
    with pytest.raises(NotFound, match=r"'Acme'.*workspaces list"):
        find_workspace(connection, "Acme")


def test_an_ambiguous_name_lists_the_ids(connection: Connection) -> None:
    """Of both workspaces."""
    twins = [create_workspace(connection, "Acme") for _ in range(2)]
    with pytest.raises(InvalidInput) as caught:
        find_workspace(connection, "Acme")
    assert all(str(twin.id) in str(caught.value) for twin in twins)


def test_the_only_workspace_needs_no_name(connection: Connection) -> None:
    """Without one, or with several, a name is needed."""
    with pytest.raises(NotFound, match="workspaces create"):
        only_workspace(connection)
    acme = create_workspace(connection, "Acme")
    assert only_workspace(connection) == acme
    create_workspace(connection, "Zeta")
    with pytest.raises(InvalidInput, match=r"--workspace: Acme, Zeta"):
        only_workspace(connection)


def test_a_person_sees_their_own_workspaces(connection: Connection) -> None:
    """A member of one workspace sees no other."""
    mine, other = factories.make_workspace(connection), factories.make_workspace(connection)
    person = factories.make_member(connection, mine)
    connection.execute("INSERT INTO tenancy.org_members (org_id, user_id) VALUES (%s, %s)", [mine.org_id, person])
    with as_person(connection, person):
        assert [one.id for one in list_workspaces(connection)] == [mine.id]
        with pytest.raises(NotFound):
            find_workspace(connection, str(other.id))
