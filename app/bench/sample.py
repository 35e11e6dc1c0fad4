"""A sample: deliver a number of events from a backlog, and measure the rate from the first batch to the last.

The program's worker runs in this process, with a handler that only reads the clock.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.bench.job_fixtures import NotExact
from app.bench.plain import CONCURRENCY as PLAIN_CONCURRENCY
from app.bench.plain import Plain
from app.bench.rows import waiting
from app.bench.temporary_database import TemporaryDatabase
from app.bench.worker import CONCURRENCY, serve_until
from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.domain import Wiring
from app.engine.routing import EVENTS_QUEUE
from app.engine.worker.app import app, fresh_connector
from events import Event
from events.robot import JobCompleted

LEAST = 2_000
"""Smallest sample: fewer events have too few batches for a rate."""

_APPLIED = "SELECT count(*) FROM engine.event_log"


@dataclass(slots=True)
class _Clock:
    """Records when each batch reaches its handler, until `wanted` events have."""

    wanted: int
    loop: asyncio.AbstractEventLoop
    enough: asyncio.Event
    seen: int = 0
    marks: list[tuple[float, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, _context: HandlerContext, events: Sequence[Event[Any]]) -> Iterable[Event[Any]]:
        """Handle a batch: record the time and the number of events."""
        with self.lock:
            self.seen += len(events)
            if self.enough.is_set():
                return ()
            self.marks.append((time.perf_counter(), len(events)))
            if self.seen >= self.wanted:
                self.loop.call_soon_threadsafe(self.enough.set)
        return ()

    def rate(self) -> float:
        """Return events a second after the first batch, until the last."""
        (began, _), *later = self.marks
        return sum(count for _, count in later) / (later[-1][0] - began)


def drain(temp_database: TemporaryDatabase, wanted: int) -> float:
    """Run a worker until at least `wanted` waiting events are applied. Returns events a second.

    Raises `NotExact` unless handled events, removed queue events and new ledger rows have the same number.
    """
    with temp_database.connect() as connection:
        before = _places(connection)
        clock = asyncio.run(_drain(wanted))
        after = _places(connection)
    moved = (before[0] - after[0], after[1] - before[1])
    if moved != (clock.seen, clock.seen) or clock.seen < wanted:
        raise NotExact(f"{clock.seen} events handled, {moved[0]} left the queue, {moved[1]} came into the ledger")
    return clock.rate()


async def _drain(wanted: int) -> _Clock:
    clock = _Clock(wanted, asyncio.get_running_loop(), asyncio.Event())
    with app.replace_connector(fresh_connector()), domain.use(Wiring({JobCompleted: clock.note}, {})):
        async with app.open_async():
            serving = app.run_worker_async(
                queues=[EVENTS_QUEUE],
                concurrency=CONCURRENCY,
                wait=False,
                install_signal_handlers=False,
                listen_notify=False,
            )
            await serve_until(serving, clock.enough)
    return clock


def _places(connection: Connection) -> tuple[int, int]:
    """Return the number of waiting and of applied events."""
    row = connection.execute(_APPLIED).fetchone()
    return waiting(connection, EVENTS_QUEUE), int(row[0]) if row else 0


class PlainSample(Plain):
    """Plain Procrastinate with a task that inserts an event into the ledger."""

    def __init__(self, temp_database: TemporaryDatabase) -> None:
        super().__init__(temp_database)
        self.temp_database = temp_database
        self.noted = self.app.task(name="plain_noted", queue="plain")(self._noted)

    def sample(self, wanted: int) -> float:
        """Apply `wanted` waiting events. Returns events a second. Raises `NotExact` for a wrong ledger."""
        rate = self.drain(wanted)
        with self.temp_database.connect() as connection:
            _, applied = _places(connection)
        if not wanted <= self.progress.counted <= applied <= self.progress.counted + PLAIN_CONCURRENCY:
            raise NotExact(f"plain Procrastinate handled {self.progress.counted} events, {applied} are in the ledger")
        return rate

    async def _noted(self, *, event: dict[str, Any]) -> None:
        async with self.pool.connection() as connection, connection.transaction():
            await self._enter(connection, event)
        self.progress.one_more()
