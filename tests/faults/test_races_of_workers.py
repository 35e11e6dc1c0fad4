"""Races of workers and operators, directed: slots, dead letters, and deliveries of workers taken for dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

import events
from app.context import Connection
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import redeliver
from app.engine.delivery.apply import apply
from app.engine.delivery.consume import consume
from app.engine.domain import ConcurrencyLimit, Wiring, use
from app.engine.effects import concurrency
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish
from app.engine.worker.rescue import rescue
from events.robot import ItemRequested
from tests.helpers import toy
from tests.helpers.faults.race import Race, deliver, submitted, taken
from tests.helpers.faults.snapshot import broken, snapshot
from tests.helpers.faults.stage import MOST_RESCUES, Hand, Stage
from tests.helpers.faults.world import Killed, Mood
from tests.helpers.support import scalar

# Slots -------------------------------------------------------------------------------------------

LIMIT = ConcurrencyLimit("account", 3)


def deliveries(stage: Stage, count: int) -> list[Delivery]:
    """Return `n` live deliveries."""
    publish(stage.connection, *[toy.say(f"w{n}") for n in range(count)], batch_size=1)
    return [taken(stage, "events").delivery for _ in range(count)]


def held(stage: Stage) -> int:
    """Return how many slots live deliveries hold."""
    statement = "SELECT count(*) FROM engine.slots WHERE engine.is_live(row_id, attempts, worker_id)"
    return int(scalar(stage.connection, statement))


def test_concurrent_takers_share_the_last_slots(race: Race) -> None:
    """The second waits until the first has its slots, and gets the rest."""
    one, two = deliveries(race.stage, 2)
    first, second = race.behind(
        lambda connection: concurrency.take(connection, one, {LIMIT: 2}),
        lambda connection: concurrency.take(connection, two, {LIMIT: 2}),
    )
    assert (first[LIMIT], second[LIMIT]) == (2, 1)
    assert held(race.stage) == LIMIT.most


def test_many_takers_never_exceed_the_limit(race: Race) -> None:
    """Together they get every slot and no more, and so do the next ones after a release."""
    every = deliveries(race.stage, 8)
    granted = race.together(8, lambda connection, n: concurrency.take(connection, every[n], {LIMIT: 2})[LIMIT])
    assert sum(granted) == held(race.stage) == LIMIT.most
    gone = [delivery.row_id for delivery, count in zip(every, granted, strict=True) if count]
    race.stage.connection.execute("DELETE FROM public.procrastinate_jobs WHERE id = ANY(%s)", [gone])
    left = [delivery for delivery in every if delivery.row_id not in gone]
    granted = race.together(len(left), lambda connection, n: concurrency.take(connection, left[n], {LIMIT: 2})[LIMIT])
    assert sum(granted) == held(race.stage) == LIMIT.most


# Dead letters ------------------------------------------------------------------------------------


def dead_request(stage: Stage) -> UUID:
    """Create a job of one item whose request is dead. Returns the item's id."""
    _, (item,) = submitted(stage, 1)
    stage.world.moods.append("break")
    deliver(stage, "robots")
    assert scalar(stage.connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 1
    return item.id


def planned(stage: Stage) -> Sequence[plans.PlanLetter]:
    """Return the letters of a new plan for all dead letters."""
    return plans.letters(stage.connection, plans.make(stage.connection, Filters(), actor="ana").id)


def test_two_plans_for_one_dead_request_revive_it_once(race: Race) -> None:
    """The second plan finds the letter resolved: one more attempt, one replay."""
    item = dead_request(race.stage)
    one, two = planned(race.stage), planned(race.stage)
    first, second = race.behind(
        lambda connection: redeliver(connection, one), lambda connection: redeliver(connection, two)
    )
    assert ([end.outcome for end in first], [end.outcome for end in second]) == ([None], ["skipped"])
    assert scalar(race.stage.connection, "SELECT replay_count FROM engine.failed_jobs") == 1
    attempt = "SELECT retry_count FROM logistics.robot_job_items WHERE id = %s"
    assert scalar(race.stage.connection, attempt, item) == 1
    assert scalar(race.stage.connection, "SELECT count(*) FROM public.procrastinate_jobs") == 1
    deliver(race.stage, "robots")
    deliver(race.stage, "events")
    assert race.stage.world.entered[item] == 1
    assert broken(race.stage.connection) == []


def test_two_plans_for_one_dead_event_apply_it_once(race: Race) -> None:
    """It may be delivered twice, but the ledger applies it once."""
    said = toy.say("broken")
    race.stage.world.broken.add("broken")
    publish(race.stage.connection, said)
    deliver(race.stage, "events")
    race.stage.world.mend()
    one, two = planned(race.stage), planned(race.stage)
    race.behind(lambda connection: redeliver(connection, one), lambda connection: redeliver(connection, two))
    deliver(race.stage, "events")
    seen, _ = snapshot(race.stage.connection)
    assert (seen.heard, seen.dead, seen.waiting) == ({"broken": 1}, {}, frozenset())


def test_a_replay_skips_an_event_that_a_delivery_has_just_applied(race: Race) -> None:
    """An event that another delivery has applied is no open dead letter."""
    race.stage.world.broken.add("broken")
    publish(race.stage.connection, toy.say("broken"))
    deliver(race.stage, "events")
    race.stage.world.mend()
    text = scalar(race.stage.connection, "SELECT event_data::text FROM engine.failed_jobs")
    letters: list[QueuedEvent] = open_rows([Row(0, text)])
    plan = planned(race.stage)
    applied, ends = race.behind(
        lambda connection: apply(connection, letters), lambda connection: redeliver(connection, plan)
    )
    assert (applied, [end.outcome for end in ends]) == (1, ["skipped"])
    assert race.stage.due("events") == 0


# Rescue ------------------------------------------------------------------------------------------


def abandoned(stage: Stage, queue: str) -> Hand:
    """Return a delivery whose worker is taken for dead."""
    if queue == "robots":
        submitted(stage, 1)
    else:
        publish(stage.connection, toy.say("abandoned"))
    hand = taken(stage, queue)
    stage.die(hand)
    return hand


@pytest.mark.parametrize("queue", ["events", "robots"])
def test_a_worker_cannot_finish_a_rescued_delivery(race: Race, queue: str) -> None:
    """It waits for the rescue and finds that it has lost the row. The next worker's outcome counts."""
    hand = abandoned(race.stage, queue)
    freed, applied = race.behind(
        lambda connection: rescue(connection, race.stage.settings), lambda _connection: race.stage.deliver(hand)
    )
    assert (len(freed), applied) == (1, 0)
    assert not race.stage.world.entered
    deliver(race.stage, queue)
    seen, _ = snapshot(race.stage.connection)
    assert sum(seen.heard.values()) + race.stage.world.entered.total() == 1


def test_a_rescue_skips_a_delivery_that_is_being_applied(race: Race) -> None:
    """The worker is alive and about to commit: the rescue does not wait, and the worker's outcome counts."""
    hand = abandoned(race.stage, "events")
    job = hand.delivery

    def claim(connection: Connection) -> int:
        statement = "SELECT row_id, args FROM engine.claim(%s, %s, %s, 0)"
        rows = connection.execute(statement, [job.row_id, job.attempts, job.worker_id]).fetchall()
        return apply(connection, open_rows([Row(*row) for row in rows]))

    applied, freed = race.behind(claim, lambda connection: rescue(connection, race.stage.settings))
    assert (applied, freed) == (1, [])
    assert rescue(race.stage.connection, race.stage.settings) == []
    assert consume(race.stage.engine, job, siblings=False) == 0
    assert snapshot(race.stage.connection)[0].heard == {"abandoned": 1}


def test_two_rescuers_free_a_delivery_once(race: Race) -> None:
    """One more attempt and one rescue are recorded. The second rescuer neither waits nor frees the row again."""
    hand = abandoned(race.stage, "events")
    first, second = race.behind(
        lambda connection: rescue(connection, race.stage.settings),
        lambda connection: rescue(connection, race.stage.settings),
    )
    assert ([row.row_id for row in first], second) == ([hand.delivery.row_id], [])
    assert scalar(race.stage.connection, "SELECT attempts FROM public.procrastinate_jobs") == 1
    assert scalar(race.stage.connection, "SELECT count(*) FROM engine.rescues") == 1


def test_a_robot_whose_call_kills_its_workers_is_buried(race: Race) -> None:
    """Rescues are counted across the rows in which the request waits out the grace period."""
    stage = race.stage
    submitted(stage, 1)
    deaths = 0
    with use(_patient(stage)):
        while stage.due("robots"):
            assert deaths <= MOST_RESCUES
            _die_in_the_call(stage)
            stage.rescue()
            stage.pass_time()
            deaths += 1
    assert (deaths, scalar(stage.connection, "SELECT error_class FROM engine.failed_jobs")) == (
        MOST_RESCUES + 1,
        "KilledItsWorkers",
    )


def test_a_request_with_another_id_finds_the_call_in_doubt(race: Race) -> None:
    """The worker crashed in the call that entered the order. A request with another id asks before it enters."""
    stage = race.stage
    job_id, (item,) = submitted(stage, 1)
    _die_in_the_call(stage, "die after")
    rescue(stage.connection, stage.settings.model_copy(update={"most_rescues": 0}))
    asked = ItemRequested(job_id=job_id, item_id=item.id, order_id=item.order_id, carrier="coordinadora", attempt=0)
    publish(
        stage.connection,
        events.new(asked, now=datetime.now(UTC), subject=job_id, tenant=stage.shop.workspace_id),
    )
    deliver(stage, "robots")
    deliver(stage, "events")
    assert dict(stage.world.entered) == {item.id: 1}
    assert scalar(stage.connection, "SELECT status FROM logistics.robot_job_items") == "success"
    assert broken(stage.connection) == []


def _patient(stage: Stage) -> Wiring:
    """Return the stage's wiring with a grace period of one minute."""
    wiring = stage.wiring()
    return replace(
        wiring, effects={kind: replace(one, grace_period=lambda: 60.0) for kind, one in wiring.effects.items()}
    )


def _die_in_the_call(stage: Stage, mood: Mood = "die before") -> None:
    """Deliver the request until it is called, passing the time for which it is put back."""
    stage.world.moods.append(mood)
    while True:
        stage.connection.execute("UPDATE engine.calls SET ask_after = now() WHERE ask_after > now()")
        hand = taken(stage, "robots")
        try:
            stage.deliver(hand)
        except Killed:
            stage.die(hand)
            return
        stage.pass_time()
