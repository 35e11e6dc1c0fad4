"""Fixtures of the engine's tests: the toy domain and its engine."""

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
from tests.helpers.calls import Mail
from tests.helpers.sequences import StepFaults
from tests.helpers.toy import Outside


@pytest.fixture
def outside(database: Database) -> Iterator[toy.Outside]:
    """The outside world of the toy domain, with its wiring in force."""
    toy.install(database)
    outside = toy.Outside()
    with domain.use(outside.wiring()):
        yield outside


@pytest.fixture
def step_faults(outside: toy.Outside) -> Iterator[StepFaults]:
    """Steps without a fault, with their wiring in force."""
    step_faults = StepFaults()
    with domain.use(step_faults.wiring()):
        yield step_faults


@pytest.fixture
def worker(database: Database, connection: Connection, step_faults: StepFaults) -> Iterator[Engine]:
    """An engine whose deliveries the test makes; afterwards the invariants of ordering hold."""
    with sequences.engine(database) as made:
        yield made
    assert all(verdict.holds for verdict in audit(connection, ordering.INVARIANTS))


@pytest.fixture
def mail(outside: Outside) -> Iterator[Mail]:
    """An effect whose other side cannot be asked, with its wiring in force."""
    made = Mail(outside)
    with domain.use(made.wiring()):
        yield made


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    """An engine whose deliveries the test makes; three attempts an event."""
    with sequences.engine(database) as made:
        yield made
