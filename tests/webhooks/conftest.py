"""A workspace and an organisation with endpoints at the simulated receiver."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.settings import settings
from app.simulators.receiver import Receiver
from app.webhooks.fixtures.hooked import NETWORKS, Hooked
from tests.helpers.factories import make_workspace


@pytest.fixture
def hooked(connection: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Hooked:
    """A workspace whose endpoints may be on the loopback interface."""
    monkeypatch.setenv("TALLYMAN_WEBHOOK_NETWORKS", NETWORKS)
    settings.cache_clear()
    return Hooked(connection, make_workspace(connection).id, receiver)


@pytest.fixture
def hooked_org(hooked: Hooked) -> Hooked:
    """An organisation, with the same receiver."""
    return Hooked(hooked.connection, make_workspace(hooked.connection).org_id, hooked.receiver, "org")
