"""A worker whose deliveries are made one by one, and what comes after it: time that passes, and the rescue."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from procrastinate import jobs
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
from app.engine.queue.job_manager import FencedManager
from app.engine.queue.lease import Delivery
from app.engine.worker.app import fresh_connector
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
    """A queue row that a worker has in hand."""

    row_id: int
    attempts: int
    worker_id: int
    queue_name: str
    task_name: str
    args: str

    def holds(self, event_ids: Collection[UUID]) -> bool:
        """Whether any of the events is in it."""
        return any(queued.event_id in event_ids for queued in open_rows([Row(self.row_id, self.args)]))


def register(connection: Connection) -> int:
    """The id of a new worker, whose heart beats now."""
    row = connection.execute(_REGISTER).fetchone()
    if row is None:
        raise LookupError("the queue registers no worker")
    return int(row[0])


def fetch(connection: Connection, worker_id: int) -> Fetched | None:
    """Take the next row that is due, as Procrastinate's workers do."""
    return connection.cursor(row_factory=class_row(Fetched)).execute(_FETCH, [worker_id]).fetchone()


class Process:
    """A worker's process: its connections to the database, and the event loop that its connections to the outside use.

    Close it, whatever became of it: the kernel closes the connections of the dead too.
    """

    def __init__(self, pool: ConnectionPool[Connection], policy: Policy) -> None:
        self.engine = Engine(pool, policy)
        self._runner = asyncio.Runner()
        self._called: Wiring | None = None

    def deliver(self, fetched: Fetched, wiring: Wiring, *, makes_room: bool = False) -> bool:
        """Deliver a row; whether that was possible. A `faults.Died` passes through.

        `makes_room`: a delivery of effects is asked to end early when its first call begins.
        """
        delivery = Delivery(fetched.row_id, fetched.attempts, fetched.worker_id)
        # Whatever a delivery raises, a worker answers it with a retry.
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
        """Hang up."""
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
    """A wiring whose calls ask their own delivery to make room as they begin."""

    def asks(effect: Effect) -> Effect:
        async def call(prepared: Prepared, call: Call) -> Payload:
            running.asked_at = 0.0
            return await effect.call(prepared, call)

        return replace(effect, call=call)

    return replace(wiring, effects={payload: asks(effect) for payload, effect in wiring.effects.items()})


class QueueClient:
    """Says in the queue how deliveries ended, as Procrastinate does for a worker that lives; to be closed."""

    def __init__(self) -> None:
        self._connector = fresh_connector()
        self._manager = FencedManager(self._connector)
        self._runner = asyncio.Runner()
        self._runner.run(self._connector.open_async())

    def fetch(self, queues: Collection[str] | None) -> int | None:
        """Take the next row that is due, as the program's workers do, for a new worker; its id."""

        async def fetch() -> jobs.Job | None:
            worker_id = await self._manager.register_worker()
            return await self._manager.fetch_job(queues, worker_id)

        job = self._runner.run(fetch())
        return None if job is None else job.id

    def end(self, fetched: Fetched, *, succeeded: bool) -> None:
        """Finish a delivery, or have it delivered again."""
        job = jobs.Job(
            id=fetched.row_id,
            queue=fetched.queue_name,
            lock=None,
            queueing_lock=None,
            task_name=fetched.task_name,
            attempts=fetched.attempts,
            worker_id=fetched.worker_id,
        )
        if succeeded:
            self._runner.run(self._manager.finish_job(job, jobs.Status.SUCCEEDED, delete_job=True))
        else:
            self._runner.run(self._manager.retry_job(job, retry_at=datetime.now(UTC)))

    def close(self) -> None:
        """Hang up."""
        self._runner.run(self._connector.close_async())
        self._runner.close()


def rescue_from(worker_id: int, connection: Connection) -> None:
    """Let a worker's heart have stopped long ago, and free its deliveries."""
    connection.execute(_SILENCE, [worker_id])
    rescue(connection, settings())


def let_time_pass(connection: Connection) -> bool:
    """Make due what was put back for later, and have it promoted; whether anything waits."""
    connection.execute(_END_GRACE_PERIODS)
    connection.execute(_ALL_IS_DUE)
    while promote(connection)[0]:
        pass
    return connection.execute(_TIME_PASSES).rowcount > 0


def _pass_over_the_dead(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Several calls of a process die with it, and somebody waits for one of them only.
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)
