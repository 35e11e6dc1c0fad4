"""Plain Procrastinate as a worker process: `python -m app.bench.serving <concurrency> [portal url]`, until SIGTERM.

Uses DATABASE_URL, listens for notifications (Procrastinate's default), and logs nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from psycopg_pool import AsyncConnectionPool

from app import database
from app.bench import processes
from app.bench.plain import CONCURRENCY, QUEUE
from app.bench.plain_robots import ROBOTS_QUEUE, PlainRobots
from app.bench.temporary_database import TemporaryDatabase


@contextmanager
def serving(environment: Mapping[str, str], *, concurrency: int = CONCURRENCY, portal_url: str = "") -> Iterator[int]:
    """Run a worker process of plain Procrastinate during the block, for results or robots. Yields its pid."""
    command = [sys.executable, "-m", __name__, str(concurrency), portal_url]
    with processes.running(command, environment) as process:
        yield process.pid


async def _serve(plain: PlainRobots, concurrency: int) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    async with (
        plain.app.open_async(),
        AsyncConnectionPool(plain.conninfo, min_size=2, max_size=max(8, concurrency)) as plain.pool,
    ):
        await plain.app.run_worker_async(queues=[QUEUE, ROBOTS_QUEUE], concurrency=concurrency)


def _main(concurrency: str, portal_url: str = "") -> None:
    url = database.url()
    asyncio.run(_serve(PlainRobots(TemporaryDatabase("", url, url), portal_url), int(concurrency)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
