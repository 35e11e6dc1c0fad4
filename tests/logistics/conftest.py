"""Fixtures of the logistics tests: workspaces that can ship."""

from __future__ import annotations

from typing import Any

import pytest

from app.context import Connection
from app.settings import settings
from app.simulators.portal import Portal
from tests.helpers.factories import make_workspace
from tests.helpers.shops import Shop, equip


@pytest.fixture
def shop(connection: Connection, workspace: Any, portal: Portal) -> Shop:
    """A workspace that can ship."""
    return equip(connection, workspace.id, portal)


@pytest.fixture
def other(connection: Connection, portal: Portal) -> Shop:
    """Another workspace that can ship, of another organisation."""
    return equip(connection, make_workspace(connection).id, portal)


@pytest.fixture
def hasty(database: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short limits for robots: a third of a second a call, three attempts, no grace period."""
    for name, value in {"PORTAL_TIMEOUT": "0.3", "PORTAL_SETTLE": "0", "MOST_ATTEMPTS": "3"}.items():
        monkeypatch.setenv(f"TALLYMAN_{name}", value)
    settings.cache_clear()
