"""An organisation that can collect: a person, settings of its own, and an account with a marketplace."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest
from pydantic import SecretStr

from app.collection import accounts
from app.context import Connection, Context
from tests.helpers.factories import make_user, make_workspace

MARKETPLACE = "amazon.de"
API_KEY = "demo-key"


@dataclass(frozen=True, slots=True)
class Team:
    """An organisation, and a person of it."""

    connection: Connection
    org_id: UUID
    user_id: UUID

    @property
    def context(self) -> Context:
        """A context on behalf of the organisation, now."""
        return Context.start(self.connection, self.org_id)

    def equip(self, base_url: str, marketplace: str = MARKETPLACE, api_key: str = API_KEY) -> None:
        """Give the organisation an enabled account with a marketplace at an address."""
        accounts.set_account(self.context, marketplace, api_key=SecretStr(api_key), base_url=base_url)
        accounts.enable_account(self.context, marketplace)


def make_team(connection: Connection) -> Team:
    """A new organisation with a workspace and a person, without an account."""
    workspace = make_workspace(connection)
    user_id = make_user(connection)
    statement = "INSERT INTO tenancy.org_members (org_id, user_id, role) VALUES (%s, %s, 'admin')"
    connection.execute(statement, [workspace.org_id, user_id])
    return Team(connection, workspace.org_id, user_id)


@pytest.fixture
def team(connection: Connection) -> Team:
    """An organisation with an enabled account, at an address where nobody answers."""
    made = make_team(connection)
    made.equip("http://127.0.0.1:9")
    return made


@pytest.fixture
def other(connection: Connection) -> Team:
    """Another organisation with an account of its own."""
    made = make_team(connection)
    made.equip("http://127.0.0.1:9")
    return made
