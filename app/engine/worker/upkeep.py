"""Upkeep: periodic work of every worker for all workers: rescue, sweep, wake parked rows, promote delayed rows.

Each pass checks for workers whose session has ended, and rescues their deliveries. Every `sweep_interval`, and after a
rescue, a pass also checks heartbeats, buries rows that failed in the queue itself and wakes parked rows. A promoter
runs at the same time and moves due rows into the queue.
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
    """Rescue, sweep and promote during the block. At its end a running pass may finish, within a time limit."""
    stop, promoter = asyncio.Event(), Promoter(pool, settings().polling_interval)
    running = {
        asyncio.create_task(_rescue_and_sweep(pool, stop), name="upkeep"),
        asyncio.create_task(promoter.run(), name="promoter"),
    }
    try:
        yield promoter
    finally:
        # Each uses a connection of the pool, which is closed next.
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
        except Exception as error:  # noqa: BLE001 - no error may end the loop
            log.error("cannot rescue now", error=type(error).__name__, why=str(error))  # noqa: TRY400 - in one line
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), settings().rescue_interval)


def _rescue(pool: ConnectionPool[Connection], *, is_due: bool) -> bool:
    """Rescue, and unregister workers that are gone. Returns whether any delivery was freed.

    Most passes only check whether a session has ended, which is cheap. Heartbeats are checked if a sweep `is_due`.
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
