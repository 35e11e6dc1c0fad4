"""State machine: whatever happens to runs in any order, the books are those of a model that knows no SQL."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from app.collection.fixtures.collector import equip
from app.context import Connection
from app.simulators.marketplace import Marketplace
from tests.helpers.collecting import Desk
from tests.helpers.factories import make_workspace
from tests.helpers.run_machine import Runs

EXAMPLES = int(os.environ.get("TALLYMAN_FAULTS_EXAMPLES", "0"))
WAYS = settings(
    max_examples=EXAMPLES or 20,
    stateful_step_count=30,
    deadline=None,
    derandomize=not EXAMPLES,
    print_blob=True,
)


HAPPENS = {
    "bill after the end",
    "cancelled",
    "completed",
    "found",
    "late",
    "overrun",
    "paused budget",
    "paused overrun",
    "paused place",
    "paused user",
    "pending",
    "released",
    "running",
}
"""What the ways come across, so that they prove something."""


def test_runs_do_what_the_model_does(connection: Connection, market: Marketplace) -> None:
    """The same ways each time; TALLYMAN_FAULTS_EXAMPLES=500 walks that many others."""
    seen = Counter[str]()

    class Fresh(Runs):
        happened = seen

        def __init__(self) -> None:
            super().__init__()
            made = equip(connection, make_workspace(connection).org_id, market)
            self.desk = Desk(made.connection, made.org_id, made.user_id, market)

    run_state_machine_as_test(Fresh, settings=WAYS)
    assert {name for name, times in seen.items() if times} >= HAPPENS
