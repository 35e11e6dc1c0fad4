"""The toy domain, installed in the tests' database and served by the engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.context import Connection
from app.engine import registry, sequence
from app.engine.audit import audit
from app.engine.consume import Engine
from tests.conftest import Database
from tests.engine import lines, toy
from tests.engine.lines import Ground


@pytest.fixture
def outside(database: Database) -> Iterator[toy.Outside]:
    """The toy's outside world, with the toy's wiring in force."""
    toy.install(database)
    outside = toy.Outside()
    with registry.use(outside.wiring()):
        yield outside


@pytest.fixture
def ground(outside: toy.Outside) -> Iterator[Ground]:
    """Firm ground, with its wiring in force."""
    ground = Ground()
    with registry.use(ground.wiring()):
        yield ground


@pytest.fixture
def worker(database: Database, connection: Connection, ground: Ground) -> Iterator[Engine]:
    """An engine whose deliveries the test makes; afterwards every line must be in order."""
    with lines.engine(database) as made:
        yield made
    assert all(verdict.holds for verdict in audit(connection, sequence.INVARIANTS))
