"""The stage of the faults, and of the races on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Database
from tests.faults import stage as scenery
from tests.faults.race import Race
from tests.faults.stage import Stage

pytest.register_assert_rewrite("tests.faults.model_comparison", "tests.faults.machine", "tests.faults.model")


@pytest.fixture
def stage(database: Database) -> Iterator[Stage]:
    """An empty stage with its wiring in force."""
    with scenery.stage(database) as made:
        yield made


@pytest.fixture
def race(database: Database, stage: Stage) -> Race:
    """A stage on which two do something at the same time."""
    return Race(database, stage)
