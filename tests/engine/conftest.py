"""The toy domain, installed in the tests' database and served by the engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.inspect.invariants import audit
from app.engine.queue import ordering
from tests.conftest import Database
from tests.helpers import sequences, toy
from tests.helpers.sequences import StepFaults


@pytest.fixture
def outside(database: Database) -> Iterator[toy.Outside]:
    """The toy's outside world, with the toy's wiring in force."""
    toy.install(database)
    outside = toy.Outside()
    with domain.use(outside.wiring()):
        yield outside


@pytest.fixture
def step_faults(outside: toy.Outside) -> Iterator[StepFaults]:
    """Firm ground, with its wiring in force."""
    step_faults = StepFaults()
    with domain.use(step_faults.wiring()):
        yield step_faults


@pytest.fixture
def worker(database: Database, connection: Connection, step_faults: StepFaults) -> Iterator[Engine]:
    """An engine whose deliveries the test makes; afterwards every line must be in order."""
    with sequences.engine(database) as made:
        yield made
    assert all(verdict.holds for verdict in audit(connection, ordering.INVARIANTS))
