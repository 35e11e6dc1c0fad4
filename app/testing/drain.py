"""Drain: run a real worker until the queue is empty."""

from __future__ import annotations

import asyncio
from typing import Any

from procrastinate import PsycopgConnector

from app.context import Connection
from app.engine.domain import wiring
from app.engine.worker.app import app, fresh_connector

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
    """Run a real worker on the environment's database until no row of `queues` (None: all) is due.

    Events that were put back stay delayed. `drain_all` delivers them too.
    """

    async def run() -> None:
        connector = fresh_connector()
        with app.replace_connector(connector):
            async with app.open_async():
                options: dict[str, Any] = {"concurrency": concurrency, **({"queues": queues} if queues else {})}
                while await _due(connector, queues):
                    await app.run_worker_async(
                        wait=False, install_signal_handlers=False, listen_notify=False, **options
                    )

    asyncio.run(run())


def drain_all(connection: Connection, *, rounds: int = 20) -> None:
    """Drain, make all delayed rows due, and repeat until no row waits.

    Raises `AssertionError` if rows still wait after `rounds`.
    """
    for _ in range(rounds):
        drain()
        for statement in _ALL_IS_DUE:
            connection.execute(statement)
        if not waiting(connection):
            return
    raise AssertionError(f"still waiting after {rounds} rounds: {waiting(connection)} rows")


def waiting(connection: Connection) -> int:
    """Return the number of rows that are due, delayed or in delivery."""
    counted = connection.execute(_WAITING, [wiring().queues()]).fetchone()
    return int(counted[0]) if counted else 0


async def _due(connector: PsycopgConnector, queues: list[str] | None) -> bool:
    row = await connector.execute_query_one_async(_DUE, queues=queues, own=wiring().queues())
    return bool(row["due"])
