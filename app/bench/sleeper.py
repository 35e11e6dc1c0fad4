"""Worker processes whose jobs sleep for 20 ms in the database, until SIGTERM.

Both kinds record finished jobs in the ledger, run two jobs concurrently and use default settings.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import procrastinate
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from app import database, logs
from app.context import HandlerContext
from app.engine.domain import Wiring, use
from events import Event, Payload
from events.base import event_type

QUEUE = "plain"
CONCURRENCY = 2
TYPE = "bench/job.asked"

_SLEEP = "SELECT pg_sleep(0.02)"
_LEDGER = """
INSERT INTO engine.event_log (event_id, type, version, data, occurred_at) VALUES (%s, %s, 1, '{}', now())
"""


@event_type(TYPE)
class Asked(Payload):
    """A job that takes 20 ms."""

    number: int


def sleep(context: HandlerContext, asked: Sequence[Event[Asked]]) -> tuple[()]:
    """Sleep 20 ms for each event."""
    for _ in asked:
        context.connection.execute(_SLEEP)
    return ()


WIRING = Wiring(handlers={Asked: sleep}, effects={})


class PlainSleeper:
    """The same with plain Procrastinate: one job and one transaction a task."""

    def __init__(self, address: str) -> None:
        self.conninfo = database.conninfo(address)
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self.conninfo))
        self.pool: AsyncConnectionPool[AsyncConnection[Any]]
        self.asked = self.app.task(name="plain_asked", queue=QUEUE)(self._asked)

    async def _asked(self, *, event_id: str) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(_SLEEP)
            await connection.execute(_LEDGER, [UUID(event_id), TYPE])

    async def serve(self) -> None:
        """Run the worker until SIGTERM."""
        async with self.app.open_async(), AsyncConnectionPool(self.conninfo, min_size=2, max_size=4) as self.pool:
            await self.app.run_worker_async(queues=[QUEUE], concurrency=CONCURRENCY)


def command(kind: str) -> list[str]:
    """Return the command of a worker process. `kind`: `tallyman` or `plain`."""
    # Not `-m`: the event's class must be that of this module, not of `__main__`.
    return [sys.executable, "-c", f"from app.bench.sleeper import main; main({kind!r})"]


def main(kind: str) -> None:
    """Run a worker of this kind in the current process."""
    if kind == "plain":
        asyncio.run(PlainSleeper(database.url()).serve())
        return
    from app.engine.worker.app import app  # noqa: PLC0415 - the plain worker does without
    from app.engine.worker.supervise import plan, supervise  # noqa: PLC0415

    logs.configure()
    with use(WIRING):
        sys.exit(asyncio.run(supervise(app, plan(["events"], CONCURRENCY))))
