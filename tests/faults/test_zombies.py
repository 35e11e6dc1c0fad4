"""Zombies: a worker is stopped at some point, others take it for dead, and it goes on.

Every stopping point is combined with everything that may have happened meanwhile. What the worker does afterwards
changes nothing: neither events, nor the row, nor the outside world. A worker stopped in a transaction keeps its row
locked; there the server first ends its session, as it does with a transaction that is idle for too long.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pytest

from app.engine.effects import batch
from app.engine.queue.publish import publish
from tests.helpers import toy
from tests.helpers.faults.race import Race, submitted, taken
from tests.helpers.faults.snapshot import broken, snapshot
from tests.helpers.faults.stage import QUEUES, Stage
from tests.helpers.faults.zombie import (
    FINISH,
    Point,
    Zombie,
    buried,
    everything,
    finished_by_another,
    nobody_can_take_it,
    rescued,
    taken_by_another,
)

HOLD, LEDGER, PUT_BACK, BURY = (
    "status = 'doing' AND attempts",
    "INTO engine.event_log",
    "engine.enqueue",
    "INTO engine.failed_jobs",
)

POINTS = {
    "events: before the claim": Point("events", "engine.claim("),
    "events: in the claim": Point("events", LEDGER, holds=True),
    "events: before the finish": Point("events", FINISH),
    "events: before the put-back": Point("events", HOLD, "shaky"),
    "events: in the put-back": Point("events", PUT_BACK, "shaky", holds=True),
    "events: before the bury": Point("events", HOLD, "broken"),
    "events: in the bury": Point("events", BURY, "broken", holds=True),
    "robots: before the claim": Point("robots", HOLD),
    "robots: in the claim": Point("robots", "INTO engine.calls", holds=True),
    "robots: between claim and call": Point("robots", "before the call"),
    "robots: before the record": Point("robots", "after the call"),
    "robots: in the record": Point("robots", LEDGER, holds=True),
    "robots: before the finish": Point("robots", FINISH),
    "robots: before the put-back": Point("robots", "after the call", "lost answer"),
    "robots: in the put-back": Point("robots", PUT_BACK, "lost answer", holds=True),
    "robots: before the bury": Point("robots", "after the call", "break"),
    "robots: in the bury": Point("robots", BURY, "break", holds=True),
}
MEANWHILE = [rescued, taken_by_another, finished_by_another, buried]


def zombie(race: Race, name: str, meanwhile: Callable[[Zombie], None], patch: pytest.MonkeyPatch) -> Zombie:
    """A worker with one event, on its way to a stopping point."""
    point, world = POINTS[name], race.stage.world
    if point.queue == "robots":
        submitted(race.stage, 1)
        world.moods.append(point.mood)
    else:
        world.shaky.update({"word": 1} if point.mood == "shaky" else {})
        world.broken.update({"word"} if point.mood == "broken" else ())
        publish(race.stage.connection, toy.say("word"))
    made = Zombie(race, point, taken(race.stage, point.queue), meanwhile)
    # The worker's own clock, which goes on while it is stopped: what it knew of its lease is old then.
    clock = batch._clock  # noqa: SLF001 - there is no other way to make a worker sleep without sleeping
    patch.setattr(batch, "_clock", lambda: clock() + made.shift)
    race.stage.crash_point.watches = made.watch
    return made


def deliver_all(stage: Stage) -> None:
    """Let the other workers be taken for dead, and deliver everything."""
    stage.connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    stage.rescue()
    stage.pass_time()
    while any(stage.due(queue) for queue in QUEUES):
        for queue in QUEUES:
            while hand := stage.take(queue):
                stage.deliver(hand)
                stage.pass_time()


def is_once(stage: Stage, event_id: object, *, dead: bool) -> None:
    """Assert that the event has one end and that its action was done at most once."""
    seen, _ = snapshot(stage.connection)
    assert (event_id in set(chain.from_iterable(seen.applied)), event_id in seen.dead) == (not dead, dead)
    assert not seen.waiting
    assert set(seen.heard.values()) | set(stage.world.entered.values()) <= {1}
    assert broken(stage.connection) == []


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("name", POINTS)
def test_a_zombie_changes_nothing(
    race: Race, name: str, meanwhile: Callable[[Zombie], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state when it goes on is the state when it ends, and the event was done once."""
    undead = zombie(race, name, meanwhile, monkeypatch)
    undead.walk()
    assert everything(race.stage) == undead.left_behind
    deliver_all(race.stage)
    (event_id,) = undead.hand.events
    point = undead.point
    is_once(race.stage, event_id, dead=point.mood == "broken" or (meanwhile is buried and point.place != FINISH))


@pytest.mark.parametrize("name", [name for name, point in POINTS.items() if point.holds])
def test_a_worker_in_its_transaction_is_not_rescued(race: Race, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its row until it commits, even without heartbeats, and its outcome counts."""
    slow = zombie(race, name, nobody_can_take_it, monkeypatch)
    slow.walk()
    assert everything(race.stage) != slow.left_behind
    deliver_all(race.stage)
    (event_id,) = slow.hand.events
    is_once(race.stage, event_id, dead=slow.point.mood in {"broken", "break"})
