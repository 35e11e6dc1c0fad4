"""State machine: whatever is asked of the program in whatever order, it does what a model does that knows no SQL.

The ordinary run walks the same ways each time, in parts that can run side by side.
`TALLYMAN_FAULTS_EXAMPLES=5000` walks that many others, at random; a failure prints the steps that lead to it, and what
reproduces it.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import Database
from tests.faults.machine import Tallyman
from tests.faults.stage import stage

EXAMPLES = os.environ.get("TALLYMAN_FAULTS_EXAMPLES")
PARTS = 5
WAYS = settings(max_examples=50 // PARTS, stateful_step_count=40, deadline=None, derandomize=True, print_blob=True)
if EXAMPLES:
    WAYS = settings(WAYS, max_examples=-(-int(EXAMPLES) // PARTS), derandomize=False)

HAPPENS = {
    "DuplicateRequest",
    "KeyReused",
    "died between statements",
    "died in a call",
    "killed too often",
    "late",
    "redelivered",
    "replayed",
    "rescued",
    "retried",
    "zombie",
}


def walk(database: Database, machine: type[Tallyman] = Tallyman, ways: settings = WAYS) -> None:
    """Walk a machine's ways. Raises `AssertionError` where the program and its model part."""
    with stage(database) as made:
        Tallyman.stage = made
        run_state_machine_as_test(machine, settings=ways)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_program_does_what_its_model_does(database: Database, part: int) -> None:
    """On every way, at every step."""
    machine = type("Tallyman", (Tallyman,), {})
    walk(database, machine if EXAMPLES else seed(part)(machine))


def walk_by_hand(database: Database) -> None:
    """A way through all that can go wrong, as short as there is one."""
    with stage(database) as made:
        Tallyman.stage = made
        machine = Tallyman()
        machine.orders_come_in(3, begun=True)
        machine.submit(0, 2, "K")
        machine.submit(0, 3, "K")
        machine.repeat("K")
        machine.fall_silent("events", [], "taken")
        machine.later()
        machine.crash("events", 3)
        machine.crash_in_a_call("die after")
        machine.later()
        machine.fall_silent("robots", ["lost answer", "break", "refuse"], "delivered")
        machine.kill("robots", 2)
        machine.record([(0, 0, False), (0, 0, True), (1, 0, False)])
        machine.retry(0, "failed")
        machine.complete([(0, 0, True), (0, -1, True), (1, -1, True)], together=True)
        machine.say(["fine", "broken"])
        machine.work(["events", "events", "events"], [])
        machine.redeliver(list(range(40)), together=True)
        machine.pause_or_resume("robots")
        machine.work(["events", "robots", "events", "events"], [])
        machine.replay(0, everything=True)
        machine.mend()
        machine.teardown()


def test_the_machine_leads_through_all_that_can_go_wrong(database: Database) -> None:
    """One that never dies in a call proves nothing about dying in calls."""
    Tallyman.happened.clear()
    walk_by_hand(database)
    assert {name for name, count in Tallyman.happened.items() if count} == HAPPENS
