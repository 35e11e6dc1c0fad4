"""Waking: a delivery that frees a slot wakes the row that has been parked for longest, without waiting for a rescuer.

Rows are delivered by hand, so nothing else could have woken them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import uuid4

import pytest

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.effects.concurrency import wake_all
from app.engine.effects.execute import perform
from app.engine.queue.publish import publish
from tests.conftest import Database
from tests.engine.effects.test_execute import Blocking, fetch, heard, play, until
from tests.helpers.support import deliver, scalar
from tests.helpers.toy import Outside, want

_DUE = """
SELECT coalesce(args #>> '{events,0,data,word}', args #>> '{data,word}') FROM public.procrastinate_jobs
 WHERE queue_name = 'toys' AND status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) ORDER BY id
"""
_FORGET_WORKERS = "UPDATE public.procrastinate_jobs SET worker_id = NULL WHERE status = 'doing'"

Crowd = Callable[[Engine, Blocking, "asyncio.Task[int]"], Awaitable[None]]


def due(connection: Connection) -> list[str]:
    """The words of the rows that a worker would find."""
    return [word for (word,) in connection.execute(_DUE)]


def crowded(database: Database, connection: Connection, outside: Outside, scenario: Crowd) -> None:
    """Run a scenario: one delivery holds both slots of a limit, and three rows are parked for it, in order."""

    async def whole(engine: Engine, blocking: Blocking) -> None:
        publish(connection, want("a1", limit="account"), want("a2", limit="account"))
        holder = asyncio.create_task(perform(engine, fetch(connection)))
        await until(lambda: blocking.under_way == 2)
        for word in ("b", "c", "d"):
            publish(connection, want(word, limit="account"))
            await perform(engine, fetch(connection))
        assert due(connection) == []
        await scenario(engine, blocking, holder)
        blocking.go.set()
        with suppress(asyncio.CancelledError):
            await holder

    play(database, outside, whole)


def test_a_recorded_outcome_wakes_the_longest_parked(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """One slot is free, so one row is woken: the first of those that wait."""

    async def scenario(_: Engine, blocking: Blocking, _holder: asyncio.Task[int]) -> None:
        blocking.take_one()
        await until(lambda: due(connection))
        assert due(connection) == ["b"]

    crowded(database, connection, outside, scenario)


def test_a_woken_row_that_is_not_wanted_any_more_wakes_the_next(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It has nothing to call, so it gives its slot up in its claim."""
    outside.stale.add("b")

    async def scenario(engine: Engine, blocking: Blocking, _holder: asyncio.Task[int]) -> None:
        blocking.take_one()
        await until(lambda: due(connection))
        await perform(engine, fetch(connection))
        assert due(connection) == ["c"]

    crowded(database, connection, outside, scenario)


def test_a_delivery_that_must_stop_wakes_the_longest_parked(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """A worker that is told to stop hands back what it has begun, and its slots with it."""

    async def scenario(_: Engine, _blocking: Blocking, holder: asyncio.Task[int]) -> None:
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        assert due(connection) == ["b", "a1"]  # what was in the air is to be asked about

    crowded(database, connection, outside, scenario)


def test_upkeep_wakes_for_a_delivery_that_died(database: Database, connection: Connection, outside: Outside) -> None:
    """A dead delivery holds no slot; it cannot wake anybody, so upkeep does, one row a turn."""

    async def scenario(_: Engine, _blocking: Blocking, _holder: asyncio.Task[int]) -> None:
        wake_all(connection)
        assert due(connection) == []
        connection.execute(_FORGET_WORKERS)
        wake_all(connection)
        assert due(connection) == ["b"]
        wake_all(connection)
        assert due(connection) == ["b", "c"]

    crowded(database, connection, outside, scenario)


def test_the_last_outcome_lets_all_the_parked_go_on_one_after_the_other(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Each delivery wakes the next: by hand, without a rescuer and before any time is up, everything is called."""

    async def scenario(_: Engine, blocking: Blocking, holder: asyncio.Task[int]) -> None:
        blocking.go.set()
        await holder

    crowded(database, connection, outside, scenario)
    deliver(connection)
    assert heard(connection) == ["a1: made", "a2: made", "b: made", "c: made", "d: made"]


def test_a_limit_that_tenants_share_wakes_the_longest_parked_of_all(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """One key, several tenants: they are woken in the order in which they were parked, whichever frees a slot."""
    a, b = uuid4(), uuid4()

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        publish(connection, want("a1", limit="shared", tenant=a), want("a2", limit="shared", tenant=a))
        holder = asyncio.create_task(perform(engine, fetch(connection)))
        await until(lambda: blocking.under_way == 2)
        for word, tenant in (("b1", b), ("a3", a), ("b2", b)):
            publish(connection, want(word, limit="shared", tenant=tenant))
            await perform(engine, fetch(connection))
        assert due(connection) == []
        blocking.take_one()
        await until(lambda: due(connection))
        assert due(connection) == ["b1"]
        blocking.go.set()
        await holder

    play(database, outside, scenario)
    assert due(connection) == ["b1", "a3"]
    deliver(connection)
    words = [word for word, _ in outside.calls]
    assert words[-3:] == ["b1", "a3", "b2"]


def test_what_a_stopping_worker_hands_back_keeps_its_place(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """A row that was published later comes after it, and the row is delivered as if it had not been before."""

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        publish(connection, *(want(word, limit="account") for word in ("a1", "a2", "older", "old")))
        holder = asyncio.create_task(perform(engine, fetch(connection)))
        await until(lambda: blocking.under_way == 2)
        publish(connection, want("newer"))
        holder.cancel()
        with suppress(asyncio.CancelledError):
            await holder
        assert due(connection)[:2] == ["older", "newer"]
        blocking.go.set()

    play(database, outside, scenario)
    row = "SELECT attempts, worker_id, args -> 'attempt', jsonb_array_length(args -> 'events') FROM procrastinate_jobs"
    assert connection.execute(f"{row} ORDER BY id LIMIT 1").fetchall() == [(0, None, 0, 2)]
    deliver(connection)
    assert heard(connection) == ["a1: asked", "a2: asked", "newer: made", "old: made", "older: made"]
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0
