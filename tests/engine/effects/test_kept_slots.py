"""Kept slots: the slot for which a parked row is woken is not taken by another delivery before the row is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.effects.concurrency import wake_all
from app.engine.effects.execute import perform
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish
from app.engine.worker.prune import prune
from tests.conftest import Database
from tests.helpers.blocking_calls import Blocking, due, play, until
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, want

A, B, C, D = (UUID(int=n) for n in range(1, 5))
PARKED = "SELECT args #>> '{events,0,data,word}' FROM engine.delayed WHERE key = 'shared' ORDER BY id"
TAKEN = "SELECT count(*) FROM engine.slots WHERE engine.is_taken(row_id, attempts, worker_id, reserved_until)"
LAPSE = "UPDATE engine.slots SET reserved_until = clock_timestamp() WHERE reserved_until IS NOT NULL"

Woken = Callable[[Engine, Blocking, "asyncio.Task[int]"], Awaitable[None]]


def fetch(connection: Connection, tenant: UUID) -> Delivery:
    """A worker fetches the next row of a tenant, as fair share may choose it."""
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row = connection.execute(
        "SELECT id, attempts, worker_id FROM engine.fetch_share('toys', %s, %s)", [str(tenant), worker_id]
    ).fetchone()
    assert row is not None
    assert row[0] is not None, "no row of the tenant is due"
    return Delivery(*row)


def parked(connection: Connection) -> list[str]:
    """The words of the parked rows, the longest parked first."""
    return [word for (word,) in connection.execute(PARKED)]


def woken(database: Database, connection: Connection, outside: Outside, scenario: Woken) -> None:
    """Run a scenario: tenants share two slots. A's row b is woken for one, c is parked, and A's delivery has the other.

    That delivery has more calls to make, and would make them side by side if it had both slots.
    """

    async def whole(engine: Engine, blocking: Blocking) -> None:
        publish(connection, want("first", limit="shared", tenant=D))
        ends = asyncio.create_task(perform(engine, fetch(connection, D)))
        await until(lambda: blocking.under_way == 1)
        publish(connection, *(want(word, limit="shared", tenant=A) for word in ("a1", "a2", "a3", "a4")))
        goes_on = asyncio.create_task(perform(engine, fetch(connection, A)))
        await until(lambda: blocking.under_way == 2)
        for word, tenant in (("b", B), ("c", C)):
            publish(connection, want(word, limit="shared", tenant=tenant))
            await perform(engine, fetch(connection, tenant))
        blocking.take_one()
        await ends
        assert (due(connection), parked(connection)) == (["b"], ["c"])
        await scenario(engine, blocking, goes_on)
        blocking.go.set()
        await goes_on

    play(database, outside, whole)


def test_a_fresh_row_of_another_tenant_waits_behind_the_woken_one(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It is fetched first, finds no slot and is parked; the woken row is called, and the order of the others stays."""

    async def scenario(engine: Engine, blocking: Blocking, _: asyncio.Task[int]) -> None:
        publish(connection, want("d", limit="shared", tenant=D))
        assert await perform(engine, fetch(connection, D)) == 0
        called = asyncio.create_task(perform(engine, fetch(connection, B)))
        await until(lambda: blocking.under_way == 2)
        assert parked(connection) == ["c", "d"]
        blocking.go.set()
        assert await called == 1

    woken(database, connection, outside, scenario)


def test_a_running_delivery_does_not_grow_into_the_slot_of_a_woken_row(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It records an outcome and would use another slot; the woken row still finds its own."""

    async def scenario(engine: Engine, blocking: Blocking, _: asyncio.Task[int]) -> None:
        calls = blocking.calls
        blocking.take_one()
        await until(lambda: blocking.calls == calls + 1)
        assert blocking.under_way == 1
        called = asyncio.create_task(perform(engine, fetch(connection, B)))
        await until(lambda: blocking.under_way == 2)
        blocking.go.set()
        assert await called == 1

    woken(database, connection, outside, scenario)


def test_no_second_row_is_woken_for_a_slot_that_is_kept(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Upkeep finds no free slot."""

    async def scenario(_engine: Engine, _blocking: Blocking, _: asyncio.Task[int]) -> None:
        wake_all(connection)
        assert (due(connection), parked(connection)) == (["b"], ["c"])
        assert scalar(connection, TAKEN) == 2

    woken(database, connection, outside, scenario)


def test_a_slot_that_nobody_comes_for_is_free_again(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The woken row is not fetched within ten seconds, say because its queue is paused: others may be called."""

    async def scenario(engine: Engine, blocking: Blocking, _: asyncio.Task[int]) -> None:
        left = "SELECT extract(epoch FROM reserved_until - clock_timestamp()) FROM engine.slots"
        assert 0 < scalar(connection, f"{left} WHERE reserved_until IS NOT NULL") <= 10
        connection.execute(LAPSE)
        publish(connection, want("d", limit="shared", tenant=D))
        called = asyncio.create_task(perform(engine, fetch(connection, D)))
        await until(lambda: blocking.under_way == 2)
        assert parked(connection) == ["c"]
        blocking.go.set()
        assert await called == 1

    woken(database, connection, outside, scenario)


def test_a_slot_is_kept_only_while_its_row_is_there(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Prune leaves the slot of a woken row, and removes it with the row; upkeep wakes the next one."""

    async def scenario(_engine: Engine, _blocking: Blocking, _: asyncio.Task[int]) -> None:
        assert prune(connection)["slots"] == 0
        connection.execute("DELETE FROM public.procrastinate_jobs WHERE status = 'todo'")
        assert scalar(connection, TAKEN) == 1
        assert prune(connection)["slots"] == 1
        wake_all(connection)
        assert due(connection) == ["c"]

    woken(database, connection, outside, scenario)
