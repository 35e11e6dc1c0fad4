"""Fixtures for the tests with injected faults and races."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Database
from tests.helpers.faults import stage as scenery
from tests.helpers.faults.race import Race
from tests.helpers.faults.stage import Stage

pytest.register_assert_rewrite(
    "tests.helpers.faults.model_comparison", "tests.helpers.faults.machine", "tests.helpers.faults.model"
)


@pytest.fixture
def stage(database: Database) -> Iterator[Stage]:
    """An empty stage with its wiring in force."""
    with scenery.stage(database) as made:
        yield made


@pytest.fixture
def race(database: Database, stage: Stage) -> Race:
    """A stage with connections for concurrent callers."""
    return Race(database, stage)
