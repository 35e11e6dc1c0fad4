"""Concurrency limits: slots over all workers, and parked rows that the delivery that frees a slot wakes.

Rows are delivered by hand, so nothing else could have woken them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import LiteralString
from uuid import uuid4

import pytest
from psycopg.errors import LockNotAvailable

from app import database as doors
from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.domain import ConcurrencyLimit
from app.engine.effects import concurrency, cooldowns
from app.engine.effects.concurrency import wake_all
from app.engine.effects.execute import perform
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish, put_back
from tests.conftest import Database
from tests.helpers.blocking_calls import Blocking, due, fetch, heard, play, until
from tests.helpers.support import deliver, scalar
from tests.helpers.toy import Outside, want

_FORGET_WORKERS = "UPDATE public.procrastinate_jobs SET worker_id = NULL WHERE status = 'doing'"

Crowd = Callable[[Engine, Blocking, "asyncio.Task[int]"], Awaitable[None]]


def crowded(database: Database, connection: Connection, outside: Outside, scenario: Crowd) -> None:
    """Run a scenario in which one delivery holds both slots of a limit, and three rows are parked for it.

    They are another tenant's, because rows of its own share join a running delivery.
    """
    other = uuid4()

    async def whole(engine: Engine, blocking: Blocking) -> None:
        publish(connection, want("a1", limit="account"), want("a2", limit="account"))
        holder = asyncio.create_task(perform(engine, fetch(connection)))
        await until(lambda: blocking.under_way == 2)
        for word in ("b", "c", "d"):
            publish(connection, want(word, limit="account", tenant=other))
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
    """One slot is free, so one row is woken."""

    async def scenario(_: Engine, blocking: Blocking, _holder: asyncio.Task[int]) -> None:
        blocking.take_one()
        await until(lambda: due(connection))
        assert due(connection) == ["b"]

    crowded(database, connection, outside, scenario)


def test_an_obsolete_woken_row_wakes_the_next(database: Database, connection: Connection, outside: Outside) -> None:
    """It has nothing to call, so its claim frees the slot."""
    outside.stale.add("b")

    async def scenario(engine: Engine, blocking: Blocking, _holder: asyncio.Task[int]) -> None:
        blocking.take_one()
        await until(lambda: due(connection))
        await perform(engine, fetch(connection))
        assert due(connection) == ["c"]

    crowded(database, connection, outside, scenario)


def test_a_stopping_delivery_wakes_the_longest_parked(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It requeues its events and frees its slots."""

    async def scenario(_: Engine, _blocking: Blocking, holder: asyncio.Task[int]) -> None:
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        assert due(connection) == ["b", "a1"]  # what was in the air is to be asked about

    crowded(database, connection, outside, scenario)


def test_upkeep_wakes_rows_for_a_crashed_delivery(database: Database, connection: Connection, outside: Outside) -> None:
    """It holds no slot. Each pass wakes one row."""

    async def scenario(_: Engine, _blocking: Blocking, _holder: asyncio.Task[int]) -> None:
        wake_all(connection)
        assert due(connection) == []
        connection.execute(_FORGET_WORKERS)
        wake_all(connection)
        assert due(connection) == ["b"]
        wake_all(connection)
        assert due(connection) == ["b", "c"]

    crowded(database, connection, outside, scenario)


def test_each_delivery_wakes_the_next_parked_row(database: Database, connection: Connection, outside: Outside) -> None:
    """All calls are made without a rescuer and before any delay ends."""

    async def scenario(_: Engine, blocking: Blocking, holder: asyncio.Task[int]) -> None:
        blocking.go.set()
        await holder

    crowded(database, connection, outside, scenario)
    deliver(connection)
    assert heard(connection) == ["a1: made", "a2: made", "b: made", "c: made", "d: made"]


def test_rows_of_all_tenants_are_woken_in_the_order_of_parking(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """For a limit that tenants share."""
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
    # The delivery of b1 may take b2 along: the slot of a3 is kept.
    words = [word for word, _ in outside.calls]
    assert (words[-3], {*words[-2:]}) == ("b1", {"a3", "b2"})


def test_events_of_a_stopping_worker_keep_their_position(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """They come before rows that were published later, and have no attempt more."""

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


def delivery_in_progress(connection: Connection) -> Delivery:
    """Return a delivery of a live worker."""
    publish(connection, want("held"))
    return fetch(connection)


def test_slots_are_shared_by_all_deliveries(connection: Connection, outside: Outside) -> None:
    """A delivery holds at most the free ones. It can take more, give some back, and keeps those of other limits."""
    account, other = ConcurrencyLimit("account", 3), ConcurrencyLimit("other", 1)
    first, second = delivery_in_progress(connection), delivery_in_progress(connection)
    assert concurrency.take(connection, first, {account: 2, other: 5}) == {account: 2, other: 1}
    assert concurrency.take(connection, second, {account: 2, other: 1}) == {account: 1, other: 0}
    assert concurrency.take(connection, first, {account: 1}) == {account: 1}
    assert concurrency.take(connection, second, {account: 2}) == {account: 2}
    assert scalar(connection, "SELECT count(*) FROM engine.slots WHERE key = 'other'") == 1


_RESCUE = "UPDATE public.procrastinate_jobs SET attempts = attempts + 1 WHERE id = %s"
_REMOVE = "DELETE FROM public.procrastinate_jobs WHERE id = %s"


@pytest.mark.parametrize("end", [_RESCUE, _REMOVE], ids=["rescued", "removed"])
def test_a_delivery_that_ended_holds_no_slot(connection: Connection, outside: Outside, end: LiteralString) -> None:
    """Its slots are free at once."""
    account = ConcurrencyLimit("account", 1)
    first, second = delivery_in_progress(connection), delivery_in_progress(connection)
    concurrency.take(connection, first, {account: 1})
    connection.execute(end, [first.row_id])
    assert concurrency.take(connection, second, {account: 1}) == {account: 1}


def test_a_locked_limit_is_locked_for_every_session(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Until the transaction ends no other session takes slots of it. Other limits are free."""
    account, other = ConcurrencyLimit("account", 1), ConcurrencyLimit("other", 1)
    delivery = delivery_in_progress(connection)
    with doors.connect(database.url, autocommit=True) as session:
        session.execute("SET lock_timeout = '50ms'")
        with connection.transaction():
            concurrency.lock_limits(connection, [account])
            with pytest.raises(LockNotAvailable):
                concurrency.take(session, delivery, {account: 1})
            assert concurrency.take(session, delivery, {other: 1}) == {other: 1}
        assert concurrency.take(session, delivery, {account: 1}) == {account: 1}


def test_no_row_is_woken_during_a_cooldown(connection: Connection, outside: Outside) -> None:
    """A parked row is due after the cooldown, or when its time is up."""
    account = ConcurrencyLimit("account", 1)
    event = want("parked", limit="account")
    raw = event.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(event, raw)], delay=concurrency.PARKED_S, attempt=0, limit=account)
    cooldowns.begin(connection, {"account": (60.0, "slow down")})
    concurrency.wake_parked(connection, account)
    assert due(connection) == []
    connection.execute("DELETE FROM engine.rests")
    concurrency.wake_parked(connection, account)
    assert due(connection) == ["parked"]
