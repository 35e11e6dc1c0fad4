"""Organisations: finding one by name or id, and its members."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from app.context import Connection
from app.database import connect
from app.errors import InvalidInput, NotFound, SetupError
from app.tenancy.orgs import add_member, find_member, find_org, list_orgs, members, only_org
from app.tenancy.store import create_workspace
from app.testing.database import Database


def test_an_organisation_is_found_by_name_or_id_with_the_zone_of_its_oldest_workspace(connection: Connection) -> None:
    """Times of an organisation are shown in that zone."""
    made = create_workspace(connection, "Stock", org_name="Holding", timezone="Europe/Madrid")
    create_workspace(connection, "Second", org_id=made.org_id, timezone="Asia/Tokyo")
    assert only_org(connection) == find_org(connection, "Holding") == find_org(connection, str(made.org_id))
    assert only_org(connection).timezone == "Europe/Madrid"


def test_an_organisation_that_is_missing_or_ambiguous_is_an_error_with_a_remedy(connection: Connection) -> None:
    """Each names the field and the next step."""
    with pytest.raises(NotFound, match=r"org: there is none yet; `workspaces create NAME`"):
        only_org(connection)
    first = create_workspace(connection, "A", org_name="Twin")
    create_workspace(connection, "B", org_name="Twin")
    with pytest.raises(InvalidInput, match="org: there are several; choose one with --org: Twin, Twin"):
        only_org(connection)
    with pytest.raises(InvalidInput, match=f"org: 2 are called 'Twin': give an id: .*{first.org_id}"):
        find_org(connection, "Twin")
    with pytest.raises(NotFound, match="org: there is no 'Nobody'"):
        find_org(connection, "Nobody")
    assert len(list_orgs(connection)) == 2


def test_a_member_is_added_once_and_a_second_time_changes_the_role(connection: Connection) -> None:
    """The address is compared without case."""
    org = create_workspace(connection, "Stock").org_id
    first = add_member(connection, org, "ana@example.org")
    again = add_member(connection, org, "Ana@Example.org", "admin")
    assert first.user_id == again.user_id
    assert [(one.email, one.role) for one in members(connection, org)] == [("ana@example.org", "admin")]


@pytest.mark.parametrize("email", ["ana", "@example.org", "ana@", "a b@example.org", "a\n@example.org"])
def test_a_wrong_address_is_refused(connection: Connection, email: str) -> None:
    """The error repeats the address."""
    org = create_workspace(connection, "Stock").org_id
    with pytest.raises(InvalidInput, match="is not an e-mail address"):
        add_member(connection, org, email)
    with pytest.raises(InvalidInput, match="role: must be member or admin, not 'boss'"):
        add_member(connection, org, "ana@example.org", "boss")  # type: ignore[arg-type]


def test_the_user_of_a_command_is_the_only_admin_or_the_one_that_is_named(connection: Connection) -> None:
    """With several admins the command asks for one."""
    org = create_workspace(connection, "Stock").org_id
    with pytest.raises(NotFound, match=r"`orgs add-member EMAIL --role admin`"):
        find_member(connection, org, None)
    member = add_member(connection, org, "m@example.org")
    assert find_member(connection, org, None).user_id == member.user_id
    admin = add_member(connection, org, "a@example.org", "admin")
    assert find_member(connection, org, None).user_id == admin.user_id
    assert find_member(connection, org, "M@example.org").user_id == member.user_id
    assert find_member(connection, org, str(admin.user_id)).user_id == admin.user_id
    add_member(connection, org, "b@example.org", "admin")
    with pytest.raises(InvalidInput, match="--user EMAIL"):
        find_member(connection, org, None)
    with pytest.raises(NotFound, match="is no member"):
        find_member(connection, org, str(uuid4()))


def test_where_people_are_created_elsewhere_an_unknown_address_is_an_error(database: Database) -> None:
    """Supabase creates people itself, and service_role may not. The refusal leaves the transaction usable."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("REVOKE INSERT ON auth.users FROM service_role")
        try:
            with connect(database.url) as connection:
                org = create_workspace(connection, "Stock").org_id
                with pytest.raises(SetupError, match="invite the person there first"):
                    add_member(connection, org, "ana@example.org")
                assert members(connection, org) == []
        finally:
            owner.execute("GRANT INSERT ON auth.users TO service_role")
