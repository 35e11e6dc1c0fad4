"""Fixtures of the API's tests: a shop with a member, and an outsider."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest

from app.context import Connection
from app.simulators.portal import Portal
from tests.helpers.factories import Workspace, make_member, make_workspace
from tests.helpers.shops import Shop, equip
from tests.helpers.web import TestClient, bearer


@dataclass(frozen=True, slots=True)
class Caller:
    """A person with a token, and the person's workspace."""

    user_id: UUID
    workspace: Workspace
    headers: dict[str, str]


@pytest.fixture
def member(client: TestClient, connection: Connection, workspace: Workspace) -> Caller:
    """A member of the shop's workspace. The client sends the member's token by default."""
    user_id = make_member(connection, workspace)
    client.headers.update(bearer(user_id))
    return Caller(user_id, workspace, bearer(user_id))


@pytest.fixture
def outsider(client: TestClient, connection: Connection) -> Caller:
    """An admin of another workspace."""
    workspace = make_workspace(connection)
    user_id = make_member(connection, workspace, "admin")
    return Caller(user_id, workspace, bearer(user_id))


@pytest.fixture
def shop(connection: Connection, workspace: Workspace, portal: Portal) -> Shop:
    """The member's workspace, with an enabled carrier."""
    return equip(connection, workspace.id, portal)
