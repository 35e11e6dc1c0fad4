"""State machine: in any order of operations, the program does what a model without SQL does.

The ordinary run takes the same walks each time, in parts that can run side by side.
`TALLYMAN_FAULTS_EXAMPLES=5000` takes that many random walks instead. A failure prints its steps and how to reproduce
it.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import Database
from tests.helpers.faults.machine import Tallyman
from tests.helpers.faults.stage import stage

EXAMPLES = os.environ.get("TALLYMAN_FAULTS_EXAMPLES")
PARTS = 5
WAYS = settings(max_examples=40 // PARTS, stateful_step_count=28, deadline=None, derandomize=True, print_blob=True)
if EXAMPLES:
    WAYS = settings(WAYS, max_examples=-(-int(EXAMPLES) // PARTS), derandomize=False)

HAPPENS = {
    "DuplicateRequest",
    "KeyReused",
    "cancel job before a call",
    "cancel order before a call",
    "carrier disabled",
    "delayed",
    "delivered beside a lock",
    "died between statements",
    "died in a call",
    "disable before a call",
    "discarded",
    "edited",
    "id of a dead letter reused",
    "id reused",
    "job cancelled",
    "killed too often",
    "late",
    "order cancelled",
    "pause before a call",
    "record before a call",
    "recorded by hand",
    "redelivered",
    "replayed",
    "rescued",
    "retried",
    "shared among shops",
    "written by an older version",
    "zombie",
}
RARE = {"id of a dead letter reused", "shared among shops"}
"""What a walk at random hardly came by, before it had rules and initial states for it."""


def walk(database: Database, machine: type[Tallyman] = Tallyman, ways: settings = WAYS) -> None:
    """Take a machine's walks. Raises `AssertionError` where the program and its model differ."""
    with stage(database) as made:
        Tallyman.stage = made
        run_state_machine_as_test(machine, settings=ways)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_program_does_what_its_model_does(database: Database, part: int) -> None:
    """On every walk, after every step. Every part of the ordinary run meets the rare cases."""
    machine = type("Tallyman", (Tallyman,), {})
    before = Counter(Tallyman.happened)
    walk(database, machine if EXAMPLES else seed(part)(machine))
    assert EXAMPLES or (Tallyman.happened - before).keys() >= RARE


def walk_by_hand(database: Database) -> None:
    """Take the shortest walk through every fault."""
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
        machine.reuse_of_a_dead_word(0, broken=True)
        machine.reuse_of_a_dead_word(0, broken=False)
        machine.replay(0, everything=True)
        machine.mend()
        steer_by_hand(machine)
        machine.teardown()


def steer_by_hand(machine: Tallyman) -> None:
    """Run the steps of operators and others on a machine that has some jobs."""
    machine.pause_or_resume("robots")
    machine.work(["robots", "events"] * 6, [])
    whats = {"cancel order": 3, "record": 4, "cancel job": 5, "disable": 4, "pause": 5}
    for what, order in whats.items():
        machine.work(["events", "events", "robots", "robots", "events", "events", "events"], [])
        machine.submit(order, 1, None)
        machine.work(["events"], [])
        machine.interfere(what, 0, [])
        if what == "disable":
            machine.operate(what, 0)
    machine.pause_or_resume("robots")
    machine.work(["robots", "robots", "events", "events"], [])
    machine.submit(0, 3, None, elsewhere=True)
    machine.submit(4, 2, None)
    machine.work(["events", "events"], [])
    machine.older_version(scheduled=False)
    machine.take_turns(["break", "lost answer", "break"])
    machine.edit(0, 0)
    machine.discard(0)
    machine.older_version(scheduled=True)
    machine.say_later(2, together=False)
    machine.rescue()
    machine.work(["events"] * 4, [])
    machine.reuse(0)
    machine.complete([(n, 0, True) for n in range(12)], together=True)
    machine.deliver_beside_a_lock("robot_jobs", 11, "events", [])
    machine.operate("record", 11)
    machine.later()
    machine.operate("record", len(machine.model.items) - 1)


def test_the_fixed_walk_meets_every_fault(database: Database) -> None:
    """A machine without crashes in calls would not test crashes in calls."""
    Tallyman.happened.clear()
    walk_by_hand(database)
    assert {name for name, count in Tallyman.happened.items() if count} == HAPPENS
