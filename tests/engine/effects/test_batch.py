"""A batch of effects in delivery: the checks of its lease, and how its events are requeued."""

from __future__ import annotations

import asyncio

import pytest

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.domain import QueuePaused
from app.engine.effects import batch, cooldowns
from app.engine.effects.execute import perform
from app.engine.queue import pauses
from app.engine.queue.lease import LeaseLost
from app.engine.queue.publish import publish
from tests.conftest import Database
from tests.helpers.blocking_calls import Blocking, claimed, fetch, play, until
from tests.helpers.queued import queued, unreadable
from tests.helpers.toy import Outside, want

_GIVE_AWAY = "UPDATE public.procrastinate_jobs SET attempts = attempts + 1 WHERE status = 'doing'"


def test_a_delivery_without_its_lease_makes_no_further_call(
    database: Database, connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six calls run when another worker gets the row. The seventh is not made."""
    monkeypatch.setattr(batch, "_LEASE_IS_FRESH", -1.0)
    publish(connection, *[want(f"w{n}") for n in range(7)])

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        delivery = asyncio.create_task(perform(engine, fetch(connection)))
        await until(lambda: blocking.under_way == 6)
        connection.execute(_GIVE_AWAY)
        blocking.go.set()
        assert await delivery == 0
        assert blocking.calls == 6

    play(database, outside, scenario)


def test_requeued_events_keep_their_attempts(connection: Connection, outside: Outside) -> None:
    """At most `batch_size` share a row. An event that cannot be parsed is an error of the caller."""
    batch.again(connection, [queued(want(str(n)), attempt=n // 3) for n in range(4)], batch_size=2)
    rows = "SELECT (args->>'attempt')::int, jsonb_array_length(args->'events') FROM public.procrastinate_jobs"
    assert sorted(connection.execute(rows).fetchall()) == [(0, 1), (0, 2), (1, 1)]
    with pytest.raises(TypeError, match="broken"):
        batch.event_of(unreadable(want("x")))


async def test_a_lease_is_checked_again_when_it_may_be_lost(
    connection: Connection, outside: Outside, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recent check is enough before a call that rechecks; a recheck always asks the database."""
    mine = claimed(engine, connection, want("word"))
    (task,) = mine.tasks
    connection.execute(_GIVE_AWAY)
    await mine.lease.still_mine()
    with pytest.raises(LeaseLost):
        await mine.lease.recheck(task.prepared)
    monkeypatch.setattr(batch, "_LEASE_IS_FRESH", -1.0)
    with pytest.raises(LeaseLost):
        await mine.lease.still_mine()


async def test_a_recheck_stops_a_call_of_a_paused_queue(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """It also reads cooldowns that other workers began."""
    batch = claimed(engine, connection, want("word", limit="account"))
    (task,) = batch.tasks
    assert batch.lease.cooling_down("account") is None
    cooldowns.begin(connection, {"account": (60.0, "slow down")})
    await batch.lease.recheck(task.prepared)
    busy = batch.lease.cooling_down("account")
    assert busy is not None
    assert "slow down" in str(busy)
    pauses.pause(connection, "toys", actor="ana", reason="upgrade")
    with pytest.raises(QueuePaused):
        await batch.lease.recheck(task.prepared)


def test_a_delivery_has_room_while_few_of_its_calls_wait(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """It then may have as many events as one delivery; without a concurrency limit it takes none."""
    held = claimed(engine, connection, *[want(f"a{n}", limit="account") for n in range(8)])
    assert (held.spare, held.room) == (8, 0)
    held.tasks[0].begun = True
    assert (held.spare, held.room) == (7, 18)
    held.limits = {}
    assert held.room == 0
