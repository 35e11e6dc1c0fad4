"""Delayed rows: what is published for later, put back or parked waits in `engine.delayed`, outside the queue.

A row that is not due would stand in the way of every fetch, which reads the queue in its order. A promoter in every
worker moves what is due into the queue, in the order of its time. It sleeps until the next row is due, at most for the
polling interval. A commit that delays a row by less than five seconds notifies it (`engine.delay`), so that a short
delay is as short as it says.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from psycopg_pool import ConnectionPool

from app.context import Connection

log = structlog.get_logger(__name__)

_AT_ONCE = 1_000
_LEAST_PAUSE_S = 0.02
"""Seconds between two looks when a row is due and another worker is moving it."""
NOTIFICATION = "row_delayed"
"""The type of the notification that a row which is due soon was committed."""

_PROMOTE = "SELECT moved, next_s FROM engine.promote(%s)"
_TAKE_SCHEDULED = "SELECT engine.set_aside(%s)"


def promote(connection: Connection) -> tuple[int, float | None]:
    """Move rows that are due into the queue, up to a thousand, in one statement.

    Returns how many were moved, and in how many seconds the next one is due: None when there is none, negative when
    it is overdue.
    """
    moved, next_s = connection.execute(_PROMOTE, [_AT_ONCE]).fetchone() or (0, None)
    return moved, next_s


def take_scheduled(connection: Connection, most: int) -> int:
    """Take up to `most` rows out of the queue that an older version scheduled in it; returns how many."""
    row = connection.execute(_TAKE_SCHEDULED, [most]).fetchone()
    return int(row[0]) if row else 0


class Promoter:
    """Moves what is due into the queue, as long as it runs; at most `interval` seconds pass between two looks."""

    def __init__(self, pool: ConnectionPool[Connection], interval: float) -> None:
        self._pool = pool
        self._interval = interval
        self._called = asyncio.Event()
        self._is_over = False

    async def promote_due(self) -> float:
        """Move what is due; returns the seconds until it is worth looking again. Raises when the database is away."""
        moved, next_s = await asyncio.to_thread(self._promote)
        if moved == _AT_ONCE:
            return 0.0
        return self._interval if next_s is None else min(self._interval, max(_LEAST_PAUSE_S, next_s))

    async def run(self) -> None:
        """Promote due rows until `stop()`. An error is logged, and the loop goes on."""
        while not self._is_over:
            self._called.clear()
            pause = self._interval
            try:
                pause = await self.promote_due()
            except Exception as error:  # noqa: BLE001 - whatever it was, the loop must go on
                log.error("cannot promote delayed rows", error=type(error).__name__, why=str(error))  # noqa: TRY400 - in one line
            with suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), pause)

    def wake(self) -> None:
        """Promote now: a row that is due soon has come."""
        self._called.set()

    def stop(self) -> None:
        """End `run()` after the current pass."""
        self._is_over = True
        self._called.set()

    def _promote(self) -> tuple[int, float | None]:
        with self._pool.connection() as connection:
            return promote(connection)
