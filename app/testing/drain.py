"""Drain: run a real worker until the queue is empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from procrastinate import PsycopgConnector

from app.context import Connection
from app.engine.domain import wiring
from app.engine.queue.delayed import promote
from app.engine.worker.app import app, fresh_connector
from app.engine.worker.liveness import SessionLost

_DUE = """
SELECT EXISTS (
    SELECT FROM engine.waiting(%(own)s)
     WHERE status = 'todo' AND (due_at IS NULL OR due_at <= now())
       AND queue_name = ANY(coalesce(%(queues)s::text[], %(own)s))
) AS due
"""

_ALL_IS_DUE = (
    "UPDATE engine.delayed SET due_at = now() WHERE due_at > now()",
    "UPDATE public.procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND scheduled_at > now()",
)
_WAITING = "SELECT count(*) FROM engine.waiting(%s) WHERE status IN ('todo', 'doing')"


def drain(*, queues: list[str] | None = None, concurrency: int = 4) -> None:
    """Run real workers on the environment's database, one after the other, until no row of `queues` (None: all) is due.

    Events that were put back stay delayed. `drain_all` delivers them too.
    """
    asyncio.run(_drain(queues, concurrency, is_done=lambda: True))


def drain_all(connection: Connection, *, rounds: int = 20) -> None:
    """Drain, make all delayed rows due, and repeat until no row waits.

    Raises `AssertionError` if rows still wait after `rounds`.
    """
    left = iter(range(rounds - 1))

    def is_done() -> bool:
        for statement in _ALL_IS_DUE:
            connection.execute(statement)
        waits = waiting(connection)
        if waits and next(left, None) is None:
            raise AssertionError(f"still waiting after {rounds} rounds: {waits} rows")
        return not waits

    asyncio.run(_drain(None, 4, is_done))


async def _drain(queues: list[str] | None, concurrency: int, is_done: Callable[[], bool]) -> None:
    """Run workers whenever a row is due, until none is and `is_done`."""
    connector = fresh_connector(least=1)
    with app.replace_connector(connector):
        async with app.open_async():
            while True:
                if await _due(connector, queues):
                    with suppress(SessionLost):
                        return await _serve(connector, queues, concurrency, is_done)
                elif is_done():
                    return None


async def _serve(
    connector: PsycopgConnector, queues: list[str] | None, concurrency: int, is_done: Callable[[], bool]
) -> None:
    """Run workers of one process. Its pools and its session cost more than most deliveries, so they are kept."""
    options: dict[str, Any] = {"concurrency": concurrency, **({"queues": queues} if queues else {})}
    app.job_manager.is_stopping = False
    async with app.at_work(concurrency):  # which moves due rows into the queue first
        while True:
            await app.serve(wait=False, listen_notify=False, **options)
            if not await _due(connector, queues) and is_done():
                return
            await asyncio.to_thread(_promote)


def _promote() -> None:
    with app.engine.pool.connection() as connection:
        promote(connection)


def waiting(connection: Connection) -> int:
    """Return the number of rows that are due, delayed or in delivery."""
    counted = connection.execute(_WAITING, [wiring().queues()]).fetchone()
    return int(counted[0]) if counted else 0


async def _due(connector: PsycopgConnector, queues: list[str] | None) -> bool:
    row = await connector.execute_query_one_async(_DUE, queues=queues, own=wiring().queues())
    return bool(row["due"])
