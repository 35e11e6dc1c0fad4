"""Accounts with marketplaces: an account is enabled once it is complete, and only workers get its API key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from psycopg import errors
from pydantic import SecretStr

from app.collection import accounts
from app.collection.accounts import SealedAccount, sealed_accounts, set_account, show_account
from app.context import Connection, Context
from app.database import as_person
from app.errors import Conflict, InvalidInput, NotFound, Permanent
from tests.collection.conftest import MARKETPLACE, Team, make_team

KEY = SecretStr("k3y-0f-d3mo")
URL = "https://api.example.org/v1"


@pytest.fixture
def context(connection: Connection) -> Context:
    """An organisation without accounts."""
    return make_team(connection).context


def complete(context: Context, marketplace: str = MARKETPLACE) -> UUID:
    """A complete account, disabled. Returns its id."""
    return set_account(context, marketplace, api_key=KEY, base_url=URL, max_calls=2).id


def sealed(context: Context, marketplace: str = MARKETPLACE) -> SealedAccount:
    """The account as a worker reads it."""
    key = (context.tenant_id, marketplace)
    return sealed_accounts(context.connection, [key])[key]


def test_a_new_account_is_disabled(context: Context) -> None:
    """The account is found by its name in any case, and shows whether it has a key, but not the key."""
    complete(context, " Amazon.DE ")
    shown = show_account(context, "AMAZON.de")
    assert (shown.marketplace, shown.base_url, shown.max_calls) == ("amazon.de", URL, 2)
    assert (shown.has_key, shown.is_enabled) == (True, False)
    assert KEY.get_secret_value() not in repr(shown)
    assert not sealed(context).is_ready


def test_a_value_that_is_not_given_stays(context: Context) -> None:
    """A change of one value changes no other."""
    account_id = complete(context)
    accounts.enable_account(context, MARKETPLACE)
    changed = set_account(context, MARKETPLACE, max_calls=9)
    assert (changed.id, changed.max_calls, changed.is_enabled) == (account_id, 9, True)
    assert (changed.has_key, changed.base_url) == (True, URL)
    assert accounts.unsealed(sealed(context)).api_key == KEY
    assert set_account(context, MARKETPLACE, base_url="http://other.example.org").max_calls == 9
    assert sealed(context).base_url == "http://other.example.org"


def test_the_key_is_sealed_and_workers_unseal_it(context: Context) -> None:
    """The database stores the key encrypted. A worker gets it with the account's URL."""
    account_id = complete(context)
    found = sealed(context)
    assert found.api_key is not None
    assert found.api_key.startswith("sealed:v1:test:")
    assert found.api_key not in repr(found)
    account = accounts.unsealed(found)
    assert (account.key, account.base_url, account.api_key) == (account_id, URL, KEY)
    assert account.timeout > 0


def test_a_sealed_key_does_not_open_in_another_row(context: Context) -> None:
    """A key that is copied to another account of the organisation cannot be decrypted."""
    complete(context)
    set_account(context, "ebay.com", base_url=URL)
    context.connection.execute(
        "UPDATE collection.marketplace_accounts a SET api_key = o.api_key FROM collection.marketplace_accounts o"
        " WHERE a.marketplace = 'ebay.com' AND o.marketplace = 'amazon.de'"
    )
    with pytest.raises(Permanent, match="does not open"):
        accounts.unsealed(sealed(context, "ebay.com"))


@pytest.mark.parametrize(
    ("given", "missing"),
    [({}, "no api_key and no base_url"), ({"base_url": URL}, "no api_key"), ({"api_key": KEY}, "no base_url")],
)
def test_an_incomplete_account_cannot_be_enabled(context: Context, given: dict[str, Any], missing: str) -> None:
    """The error names the missing values, and no worker can use the account."""
    set_account(context, MARKETPLACE, **given)
    with pytest.raises(Conflict, match=missing):
        accounts.enable_account(context, MARKETPLACE)
    assert not sealed(context).is_ready
    with pytest.raises(Permanent, match="no API key or no URL"):
        accounts.unsealed(sealed(context))


def test_an_account_is_enabled_and_disabled(context: Context) -> None:
    """Workers see the change at once. A repeated change is no error."""
    complete(context)
    steps: list[tuple[Callable[[Context, str], Any], bool]] = [
        (accounts.enable_account, True),
        (accounts.enable_account, True),
        (accounts.disable_account, False),
    ]
    for switch, is_enabled in steps:
        assert switch(context, MARKETPLACE).is_enabled is is_enabled
        assert sealed(context).is_ready is is_enabled


@pytest.mark.parametrize("do", [show_account, accounts.enable_account, accounts.disable_account])
def test_an_unknown_account_is_an_error_that_lists_the_known_ones(
    context: Context, do: Callable[[Context, str], Any]
) -> None:
    """Only accounts of the same organisation are listed and found."""
    complete(make_team(context.connection).context)
    with pytest.raises(NotFound, match=r"amazon\.de is not set up for this organisation; set up: none yet"):
        do(context, MARKETPLACE)
    complete(context, "ebay.com")
    with pytest.raises(NotFound, match=r"set up: ebay\.com"):
        do(context, MARKETPLACE)
    assert [one.marketplace for one in accounts.list_accounts(context)] == ["ebay.com"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"marketplace": "amazon de"}, "marketplace"),
        ({"marketplace": ""}, "marketplace"),
        ({"api_key": SecretStr("")}, "api_key"),
        ({"api_key": SecretStr("ab\ncd")}, "api_key"),
        ({"api_key": SecretStr(" ab")}, "api_key"),
        ({"api_key": SecretStr("schlüssel")}, "api_key"),
        ({"base_url": "ftp://api.example.org"}, "base_url"),
        ({"base_url": "https://user:password@api.example.org"}, "base_url"),
        ({"base_url": "https://api.example.org/?key=1"}, "base_url"),
        ({"max_calls": 0}, "max_calls"),
        ({"max_calls": 101}, "max_calls"),
    ],
)
def test_an_invalid_value_is_refused(context: Context, given: dict[str, Any], field: str) -> None:
    """The error names the field, and nothing is stored."""
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        set_account(context, **{"marketplace": MARKETPLACE, **given})
    assert accounts.list_accounts(context) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT api_key FROM collection.marketplace_accounts",
        "SELECT * FROM collection.marketplace_accounts",
        "SELECT a::text FROM collection.marketplace_accounts a",
        "UPDATE collection.marketplace_accounts SET base_url = 'http://169.254.169.254/'",
        "UPDATE collection.marketplace_accounts SET is_enabled = false",
        "COPY collection.marketplace_accounts TO STDOUT",
    ],
)
def test_no_person_reads_the_key_or_changes_an_account(team: Team, statement: str) -> None:
    """Not even an admin of the organisation."""
    with pytest.raises(errors.InsufficientPrivilege), as_person(team.connection, team.user_id):
        team.connection.execute(statement)


def test_a_member_sees_the_accounts_of_the_own_organisation(team: Team, other: Team) -> None:
    """Without the key."""
    with as_person(team.connection, team.user_id):
        assert [one.org_id for one in accounts.list_accounts(team.context)] == [team.org_id]
        assert accounts.list_accounts(other.context) == []
