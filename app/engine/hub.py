"""The hub: one connection a process that listens for changes and reads the changed rows for all viewers.

Changes are collected for a quarter of a second. Then one query a table reads the rows that changed and have viewers.
After each connect all watched rows are read, because changes in between were not notified. A server that does not
answer is left: a frozen host keeps a connection open for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import structlog

from app import database
from app.engine.progress import LISTEN, Change
from app.engine.viewers import Viewers, show
from app.errors import Transient

APPLICATION = "tallyman progress"
"""The connection's name in pg_stat_activity."""

_T = TypeVar("_T")
_Connection = psycopg.AsyncConnection[Any]
_log = structlog.get_logger("tallyman.hub")


class Unanswered(Transient):
    """The server did not answer in time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Intervals and limits of a hub in seconds.

    `read_every`: between two reads. `ask_every`: after the last answer the server is asked for a sign of life.
    `answer_within`: time limit of each answer. `reconnect_after`: mean pause before the next connection.
    """

    read_every: float = 0.25
    ask_every: float = 3.0
    answer_within: float = 5.0
    reconnect_after: float = 1.0


class Hub:
    """Keeps the viewers of a process up to date within `running()`. Connects again after every failure."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.viewers = Viewers()
        self._pace = pace or Pace()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen and read within a block."""
        task = asyncio.create_task(self._run(), name="progress hub")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            try:
                await self._connect_and_serve()
            except Exception as error:  # noqa: BLE001 - the outermost edge of the task: viewers wait for the next attempt
                if isinstance(error, Unanswered):
                    database.hang_up_pools()  # else threads wait on a frozen server for ever
                _log.warning("progress_connection_lost", why=f"{type(error).__name__}: {error}".strip())
            await asyncio.sleep(self._pace.reconnect_after * random.uniform(0.5, 1.5))

    async def _connect_and_serve(self) -> None:
        # In a thread: without DATABASE_URL it may start the embedded server.
        address = await asyncio.to_thread(database.conninfo, application_name=APPLICATION)
        connection = await _Connection.connect(address, autocommit=True)
        try:
            await self._serve(connection)
        finally:
            await connection.close()

    async def _serve(self, connection: _Connection) -> None:
        loop, pace = asyncio.get_running_loop(), self._pace
        await _within(connection, connection.execute(LISTEN), pace.answer_within)
        self.viewers.mark_all()
        read_at = answered_at = loop.time() - pace.read_every
        while True:
            pause = max(0.0, read_at + pace.read_every - loop.time()) if self.viewers.has_stale else pace.read_every
            await _within(connection, self._collect(connection, pause), pause + pace.answer_within)
            now = loop.time()
            if self.viewers.has_stale and now >= read_at + pace.read_every:
                await _within(connection, self._read(connection), pace.answer_within)
                read_at = answered_at = now
            elif now >= answered_at + pace.ask_every:
                await _within(connection, connection.execute("SELECT 1"), pace.answer_within)
                answered_at = now

    async def _collect(self, connection: _Connection, pause: float) -> None:
        """Mark what changed, until the first changes or the end of the pause in seconds."""
        # Exhaust the generator: leaving it drops what arrived together with the first notification.
        for notification in [one async for one in connection.notifies(timeout=pause, stop_after=1)]:
            with suppress(ValueError):
                self.viewers.mark(Change.parse(notification.payload))

    async def _read(self, connection: _Connection) -> None:
        """Read the marked rows, one query a table, and show them to their viewers."""
        for source, audience in self.viewers.take_stale().items():
            if audience:
                show(audience, await source.read(connection, list(audience)))


async def _within(connection: _Connection, work: Coroutine[Any, Any, _T], limit: float) -> _T:
    """Await `work` on a connection. Raises `Unanswered` after `limit` seconds, when the connection is of no more use.

    `asyncio.timeout` would wait for psycopg, which first asks the server to cancel. A frozen one does not.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=limit)
        if not task.done():
            raise Unanswered(f"no answer within {limit:g} s")
        return task.result()
    finally:
        if not task.done():
            database.hang_up(connection)  # the task fails at once
            await asyncio.wait({task})
            with suppress(psycopg.Error):
                task.result()
