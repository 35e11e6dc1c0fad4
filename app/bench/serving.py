"""Plain Procrastinate as a worker process: `python -m app.bench.serving <concurrency> [portal url]`, until SIGTERM.

It works where DATABASE_URL says, listens as Procrastinate does by default, and logs nothing.
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
    """A worker process of plain Procrastinate, for results or for whole robots; its pid."""
    command = [sys.executable, "-m", __name__, str(concurrency), portal_url]
    with processes.running(command, environment) as process:
        yield process.pid


async def _serve(plain: PlainRobots, concurrency: int) -> None:
    """Work until SIGTERM or SIGINT, as Procrastinate has it."""
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
