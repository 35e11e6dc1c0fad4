"""The toy domain, for handlers that are right and wrong, and a shop, for those of the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from app.context import Connection
from app.engine import registry
from app.simulators.portal import Portal
from tests.conftest import Database
from tests.engine import toy
from tests.logistics.conftest import Shop, equip


@pytest.fixture
def outside(database: Database) -> Iterator[toy.Outside]:
    """The toy's outside world, with the toy's wiring in force."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute(toy.TABLES)
    outside = toy.Outside()
    with registry.use(outside.wiring()):
        yield outside


@pytest.fixture
def shop(connection: Connection, workspace: Any, portal: Portal) -> Shop:
    """A workspace that can ship."""
    return equip(connection, workspace.id, portal)
