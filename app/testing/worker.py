"""A worker with single deliveries, and helpers that end delays and rescue deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from app.context import Connection
from app.engine import domain
from app.engine.delivery.consume import consume
from app.engine.delivery.engine import Engine
from app.engine.domain import Call, Effect, Policy, Prepared, Wiring
from app.engine.effects.execute import perform
from app.engine.queue.delayed import promote
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.fair_share import RunningDelivery, Share
from app.engine.queue.lease import Delivery
from app.engine.worker.rescue import rescue
from app.settings import settings
from app.testing.faults import Died
from events import Payload

_REGISTER = "SELECT worker_id FROM public.procrastinate_register_worker_v1()"
_FETCH = """
SELECT id AS row_id, attempts, worker_id, queue_name, task_name, args::text AS args
  FROM public.procrastinate_fetch_job_v2(NULL, %s) WHERE id IS NOT NULL
"""
_SILENCE = "UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity' WHERE id = %s"
_TIME_PASSES = "UPDATE public.procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'"
_ALL_IS_DUE = "UPDATE engine.delayed SET due_at = '-infinity'"
_END_GRACE_PERIODS = "UPDATE engine.calls SET ask_after = clock_timestamp() WHERE ask_after > clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A queue row that a worker has fetched."""

    row_id: int
    attempts: int
    worker_id: int
    queue_name: str
    task_name: str
    args: str

    def holds(self, event_ids: Collection[UUID]) -> bool:
        """Return whether the row contains any of the events."""
        return any(queued.event_id in event_ids for queued in open_rows([Row(self.row_id, self.args)]))


def register(connection: Connection) -> int:
    """Register a worker with a current heartbeat. Returns its id."""
    row = connection.execute(_REGISTER).fetchone()
    if row is None:
        raise LookupError("the queue returned no worker id")
    return int(row[0])


def fetch(connection: Connection, worker_id: int) -> Fetched | None:
    """Fetch the next due row, as Procrastinate's workers do; None if no row is due."""
    return connection.cursor(row_factory=class_row(Fetched)).execute(_FETCH, [worker_id]).fetchone()


class Process:
    """A worker's process: its database connections, and the event loop of its outside connections.

    Close it also after a crash, as the kernel closes the connections of a dead process.
    """

    def __init__(self, pool: ConnectionPool[Connection], policy: Policy) -> None:
        self.engine = Engine(pool, policy)
        self._runner = asyncio.Runner()
        self._called: Wiring | None = None

    def deliver(self, fetched: Fetched, wiring: Wiring, *, makes_room: bool = False) -> bool:
        """Deliver a row. Returns False if the delivery raised an exception. Raises `faults.Died`.

        `makes_room`: request a delivery of effects to end early when its first call begins.
        """
        delivery = Delivery(fetched.row_id, fetched.attempts, fetched.worker_id)
        # A worker retries after any exception of a delivery.
        with domain.use(wiring), suppress(Exception):
            if fetched.task_name == "perform":
                self._called = wiring
                running = RunningDelivery(Share(fetched.queue_name, "-"), began=0.0)
                with domain.use(_asking(wiring, running) if makes_room else wiring):
                    self._runner.run(self._perform(delivery, running))
            else:
                consume(self.engine, delivery, siblings=fetched.task_name == "consume")
            return True
        return False

    def close(self) -> None:
        """Close the effects' connections and the event loop."""
        if self._called:
            self._runner.run(self._hang_up(self._called.effects.values()))
        self._runner.close()

    async def _perform(self, delivery: Delivery, running: RunningDelivery) -> None:
        asyncio.get_running_loop().set_exception_handler(_pass_over_the_dead)
        await perform(self.engine, delivery, running)

    @staticmethod
    async def _hang_up(effects: Iterable[Effect]) -> None:
        for effect in effects:
            if effect.close is not None:
                await effect.close()


def _asking(wiring: Wiring, running: RunningDelivery) -> Wiring:
    """Return a wiring whose calls request their delivery to end early as they begin."""

    def asks(effect: Effect) -> Effect:
        async def call(prepared: Prepared, call: Call) -> Payload:
            running.asked_at = 0.0
            return await effect.call(prepared, call)

        return replace(effect, call=call)

    return replace(wiring, effects={payload: asks(effect) for payload, effect in wiring.effects.items()})


def rescue_from(worker_id: int, connection: Connection) -> None:
    """Expire a worker's heartbeat and rescue its deliveries."""
    connection.execute(_SILENCE, [worker_id])
    rescue(connection, settings())


def let_time_pass(connection: Connection) -> bool:
    """End grace periods and make delayed rows due. Returns whether any row waits."""
    connection.execute(_END_GRACE_PERIODS)
    connection.execute(_ALL_IS_DUE)
    while promote(connection)[0]:
        pass
    return connection.execute(_TIME_PASSES).rowcount > 0


def _pass_over_the_dead(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Several calls end with their process, but only one of them is awaited.
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)
