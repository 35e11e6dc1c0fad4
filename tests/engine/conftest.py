"""The toy domain, installed in the tests' database and served by the engine."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from app.engine import registry
from tests.conftest import Database
from tests.engine import toy


@pytest.fixture
def outside(database: Database) -> Iterator[toy.Outside]:
    """The toy's outside world, with the toy's wiring in force."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute(toy.TABLES)
    outside = toy.Outside()
    with registry.use(outside.wiring()):
        yield outside
