"""Carriers: an account is enabled once it is complete, and only the robot gets its password."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from app.context import Connection, Context
from app.database import as_person
from app.errors import Conflict, InvalidInput, NotFound, Permanent
from app.logistics.carriers import (
    disable_carrier,
    enable_carrier,
    list_carriers,
    portal_configs,
    set_carrier,
    show_carrier,
    unsealed,
)
from tests.helpers import factories

SECRET = SecretStr("pa55 wörd")
URL = "https://portal.example.org/api"
_STORED = "SELECT portal_password FROM logistics.carrier_configs"


def complete(context: Context, carrier: str = "coordinadora") -> None:
    """Set a complete account, disabled."""
    set_carrier(context, carrier, username="bot", password=SECRET, portal_url=URL, max_sessions=2)


def test_an_account_is_new_and_disabled(context: Context) -> None:
    """It shows what was set, and whether there is a password."""
    complete(context, " Coordinadora ")
    shown = show_carrier(context, "COORDINADORA")
    assert (shown.carrier, shown.portal_username, shown.portal_url) == ("coordinadora", "bot", URL)
    assert (shown.has_password, shown.max_sessions, shown.is_enabled) == (True, 2, False)
    assert SECRET.get_secret_value() not in repr(shown)


def test_other_fields_stay(context: Context) -> None:
    """A change of one field changes no other."""
    complete(context)
    enable_carrier(context, "coordinadora")
    before = show_carrier(context, "coordinadora")
    after = set_carrier(context, "coordinadora", max_sessions=9)
    assert (after.max_sessions, after.is_enabled) == (9, True)
    assert (after.id, after.portal_username, after.has_password, after.portal_url) == (before.id, "bot", True, URL)


def test_a_password_is_sealed_at_rest(context: Context) -> None:
    """The database never has it in plain text. The robot gets it back."""
    complete(context)
    stored = context.connection.execute(_STORED).fetchone()
    assert stored is not None
    assert stored[0].startswith("sealed:v1:test:")
    config = portal_configs(context.connection, [(context.tenant_id, "coordinadora")])[
        context.tenant_id, "coordinadora"
    ]
    assert unsealed(config).password == SECRET
    assert unsealed(config).username == "bot"
    assert stored[0] not in repr(config)


def test_a_sealed_password_does_not_open_elsewhere(context: Context) -> None:
    """In another carrier's row it cannot be decrypted."""
    complete(context)
    set_carrier(context, "dhl", username="bot")
    context.connection.execute(
        "UPDATE logistics.carrier_configs c SET portal_password = o.portal_password"
        "  FROM logistics.carrier_configs o WHERE c.carrier = 'dhl' AND o.carrier = 'coordinadora'"
    )
    (config,) = portal_configs(context.connection, [(context.tenant_id, "dhl")]).values()
    with pytest.raises(Permanent, match="does not open"):
        unsealed(config)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "no username and no password and no portal_url"),
        ({"username": "bot", "portal_url": URL}, "no password"),
        ({"username": "bot", "password": SECRET}, "no portal_url"),
    ],
)
def test_an_incomplete_account_cannot_be_enabled(context: Context, given: dict[str, Any], missing: str) -> None:
    """The error names what is missing. The robot would not use the account either."""
    set_carrier(context, "coordinadora", **given)
    with pytest.raises(Conflict, match=missing):
        enable_carrier(context, "coordinadora")
    (config,) = portal_configs(context.connection, [(context.tenant_id, "coordinadora")]).values()
    assert not config.is_ready


def test_an_account_without_credentials_gives_none(context: Context) -> None:
    """This is a permanent error."""
    set_carrier(context, "coordinadora", username="bot")
    (config,) = portal_configs(context.connection, [(context.tenant_id, "coordinadora")]).values()
    with pytest.raises(Permanent, match="carriers set coordinadora"):
        unsealed(config)


def test_an_account_is_enabled_and_disabled(context: Context) -> None:
    """The robot sees it at once."""
    complete(context)
    key = (context.tenant_id, "coordinadora")
    for switch, is_ready in ((enable_carrier, True), (enable_carrier, True), (disable_carrier, False)):
        assert switch(context, "coordinadora").is_enabled is is_ready
        assert portal_configs(context.connection, [key])[key].is_ready is is_ready


def test_an_unknown_carrier_names_those_that_are_known(context: Context) -> None:
    """Of this workspace only."""
    with pytest.raises(NotFound, match="set up: none yet"):
        show_carrier(context, "dhl")
    complete(context)
    complete(Context.start(context.connection, factories.make_workspace(context.connection).id), "fedex")
    for function in (show_carrier, enable_carrier, disable_carrier):
        with pytest.raises(NotFound, match=r"set up: coordinadora; `carriers set dhl`"):
            function(context, "dhl")
    assert [one.carrier for one in list_carriers(context)] == ["coordinadora"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("portal_url", url)
            for url in ("", "portal.example.org", "ftp://a", "http://", "http://u:p@a", "http://a:x")
        ),
        *(("portal_url", url) for url in ("https://a/?q=1", "https://a/#f", "http://a b")),
        ("max_sessions", 0),
        ("max_sessions", 101),
        ("username", " "),
        ("username", "a\nb"),
        ("password", SecretStr("")),
        ("password", SecretStr("pa55\n")),
        ("password", SecretStr("pa55\udcff")),
    ],
)
def test_a_bad_field_is_refused(context: Context, field: str, value: Any) -> None:
    """The error names it, and nothing is stored."""
    with pytest.raises(InvalidInput, match=field) as caught:
        set_carrier(context, "coordinadora", **{field: value})
    assert "pa55" not in str(caught.value)
    assert list_carriers(context) == []


@pytest.mark.parametrize("name", ["", "a carrier", "día", "-x", "x" * 41])
def test_a_carriers_name_is_plain(context: Context, name: str) -> None:
    """Lower-case letters, digits, - and _."""
    with pytest.raises(InvalidInput, match="carrier"):
        set_carrier(context, name)


def test_accounts_of_many_workspaces_are_read_at_once(context: Context) -> None:
    """Accounts that do not exist are left out."""
    other = Context.start(context.connection, factories.make_workspace(context.connection).id)
    complete(context)
    complete(other)
    wanted = [(context.tenant_id, "coordinadora"), (other.tenant_id, "coordinadora"), (uuid4(), "coordinadora")]
    found = portal_configs(context.connection, wanted)
    assert {key: (config.workspace_id, config.carrier) for key, config in found.items()} == {
        key: key for key in wanted[:2]
    }


def test_a_member_sees_an_account_and_cannot_set_it(connection: Connection, context: Context, workspace: Any) -> None:
    """An admin can, except the portal's address. Neither can read the password. Other people see nothing."""
    complete(context)
    member, admin = (factories.make_member(connection, workspace, role) for role in ("member", "admin"))
    mismatched = factories.make_member(connection, factories.make_workspace(connection), "admin")
    with as_person(connection, member):
        assert show_carrier(context, "coordinadora").has_password
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_person(connection, member):
        set_carrier(context, "coordinadora", username="mallory")
    with pytest.raises(NotFound), as_person(connection, member):
        enable_carrier(context, "coordinadora")
    with as_person(connection, admin):
        assert set_carrier(context, "coordinadora", username="ana", password=SECRET).portal_username == "ana"
        assert enable_carrier(context, "coordinadora").is_enabled
        assert set_carrier(context, "dhl", username="ana").carrier == "dhl"
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_person(connection, admin):
        set_carrier(context, "coordinadora", portal_url="http://169.254.169.254/")
    for person in (member, admin):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), as_person(connection, person):
            connection.execute(_STORED)
    with as_person(connection, mismatched):
        assert list_carriers(context) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_person(connection, mismatched):
        set_carrier(context, "coordinadora", username="mallory")
