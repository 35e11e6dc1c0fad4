"""Upkeep: what every worker does for all of them, beside its deliveries.

Each pass looks for workers whose session has ended, and rescues their deliveries. Now and then, and after a rescue, a
pass also looks at heartbeats, buries what failed in the queue itself and wakes parked rows. Beside the passes a
promoter moves what is due into the queue.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from psycopg import errors
from psycopg_pool import ConnectionPool

from app.context import Connection
from app.engine.effects import concurrency
from app.engine.queue.delayed import Promoter
from app.engine.worker.liveness import any_gone, forget_gone
from app.engine.worker.rescue import rescue, sweep
from app.settings import settings

log = structlog.get_logger(__name__)


@asynccontextmanager
async def upkeep(pool: ConnectionPool[Connection]) -> AsyncIterator[Promoter]:
    """Rescue, sweep and promote while the block runs. A pass in progress at its end may finish, within a limit."""
    stop, promoter = asyncio.Event(), Promoter(pool, settings().polling_interval)
    running = {
        asyncio.create_task(_rescue_and_sweep(pool, stop), name="upkeep"),
        asyncio.create_task(promoter.run(), name="promoter"),
    }
    try:
        yield promoter
    finally:
        # Each has a connection of the pool, which is about to be closed.
        stop.set()
        promoter.stop()
        await asyncio.wait(running, timeout=2 * pool.timeout)
        for task in running:
            task.cancel()


async def _rescue_and_sweep(pool: ConnectionPool[Connection], stop: asyncio.Event) -> None:
    swept = -math.inf
    while not stop.is_set():
        try:
            is_due = time.monotonic() - swept >= settings().sweep_interval
            if await asyncio.to_thread(_rescue, pool, is_due=is_due) or is_due:
                await asyncio.to_thread(_sweep, pool)
                swept = time.monotonic()
        except Exception as error:  # noqa: BLE001 - whatever it was, the loop must go on
            log.error("cannot rescue now", error=type(error).__name__, why=str(error))  # noqa: TRY400 - in one line
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), settings().rescue_interval)


def _rescue(pool: ConnectionPool[Connection], *, is_due: bool) -> bool:
    """Rescue, and unregister workers that are gone; whether any delivery was freed.

    Most passes only ask whether a session ended, which is cheap; heartbeats are checked when a sweep `is_due`.
    """
    with pool.connection() as connection:
        if not is_due and not any_gone(connection):
            return False
        freed = rescue(connection, settings())
        with suppress(errors.LockNotAvailable):
            for worker_id in forget_gone(connection):
                log.warning("worker gone", worker_id=worker_id)
    return bool(freed)


def _sweep(pool: ConnectionPool[Connection]) -> None:
    with pool.connection() as connection:
        sweep(connection)
        concurrency.wake_all(connection)
