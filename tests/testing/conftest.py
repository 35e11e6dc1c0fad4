"""Fixtures: the toy domain, for handlers that are right and wrong, and a shop, for the program's handlers."""

from __future__ import annotations

from typing import Any

import pytest

from app.context import Connection
from app.simulators.portal import Portal
from tests.engine.conftest import outside
from tests.helpers.shops import Shop, equip

__all__ = ["outside"]


@pytest.fixture
def shop(connection: Connection, workspace: Any, portal: Portal) -> Shop:
    """A workspace that can ship."""
    return equip(connection, workspace.id, portal)
