"""Fixtures of the health checks."""

from __future__ import annotations

import pytest

from app.context import Connection
from tests.helpers.health_fixtures import enlist


@pytest.fixture
def worker(connection: Connection) -> int:
    """A registered worker that serves every queue and whose heartbeat does not age during the test."""
    return enlist(connection)
