"""Delayed rows: events that are published for later, put back or parked wait in `engine.delayed`, outside the queue.

A row that is not due would slow down every fetch, because a fetch reads the queue in order. A promoter in every worker
moves due rows into the queue, ordered by due time. The promoter sleeps until the next row is due, at most for the
polling interval. A commit that delays a row by less than five seconds sends a notification (`engine.delay`), so that
the promoter moves the row on time.
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
"""Seconds between two passes while a row is due and another worker is moving it."""
NOTIFICATION = "row_delayed"
"""Type of the notification that a row with a short delay was committed."""

_PROMOTE = "SELECT moved, next_s FROM engine.promote(%s)"
_TAKE_SCHEDULED = "SELECT engine.set_aside(%s)"


def promote(connection: Connection) -> tuple[int, float | None]:
    """Move due rows into the queue, up to a thousand, in one statement.

    Returns how many rows were moved, and the seconds until the next row is due: None if there is none, negative if it
    is overdue.
    """
    moved, next_s = connection.execute(_PROMOTE, [_AT_ONCE]).fetchone() or (0, None)
    return moved, next_s


def take_scheduled(connection: Connection, most: int) -> int:
    """Move up to `most` rows that an older version scheduled inside the queue to `engine.delayed`. Returns how many."""
    row = connection.execute(_TAKE_SCHEDULED, [most]).fetchone()
    return int(row[0]) if row else 0


class Promoter:
    """Move due rows into the queue until stopped. At most `interval` seconds pass between two passes."""

    def __init__(self, pool: ConnectionPool[Connection], interval: float) -> None:
        self._pool = pool
        self._interval = interval
        self._called = asyncio.Event()
        self._is_over = False

    async def promote_due(self) -> float:
        """Move due rows. Returns the seconds until the next pass. Raises if the database is unreachable."""
        moved, next_s = await asyncio.to_thread(self._promote)
        if moved == _AT_ONCE:
            return 0.0
        return self._interval if next_s is None else min(self._interval, max(_LEAST_PAUSE_S, next_s))

    async def run(self) -> None:
        """Promote due rows until `stop()`. Errors are logged and do not end the loop."""
        while not self._is_over:
            self._called.clear()
            pause = self._interval
            try:
                pause = await self.promote_due()
            except Exception as error:  # noqa: BLE001 - no error may end the loop
                log.error("cannot promote delayed rows", error=type(error).__name__, why=str(error))  # noqa: TRY400 - in one line
            with suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), pause)

    def wake(self) -> None:
        """Start a pass now, because a row with a short delay was committed."""
        self._called.set()

    def stop(self) -> None:
        """End `run()` after the current pass."""
        self._is_over = True
        self._called.set()

    def _promote(self) -> tuple[int, float | None]:
        with self._pool.connection() as connection:
            return promote(connection)
