"""Liveness: a database session with an advisory lock shows that a worker's process is running.

Each process holds the lock on its own connection. When the process ends, the kernel closes the connection, PostgreSQL
ends the session and releases the lock, and the next rescue finds that the worker is gone. Heartbeats detect what a
session does not show: a frozen process, a cut network.

A running process that lost its session (a terminated backend, a restart, a failover) is declared dead by the others. It
detects the loss within seconds, stops its deliveries and registers again.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Any, Self

import psycopg

from app import database
from app.context import Connection
from app.errors import SetupError, Transient

APPLICATION = "tallyman worker session"
"""The connection's name in pg_stat_activity."""

_CLASS = 1952541804
"""`tall` in ASCII: the first key of the advisory lock. The second key is the process's own."""
_LOCK = "SELECT pg_try_advisory_lock(%s, %s)"
_TRIES = 10
_PING_S = 2.0
"""Seconds between two pings of the session. A closed connection is detected at once, without a ping."""
_PATIENCE_S = 5.0
"""Seconds without an answer after which the session counts as lost."""
_KEEPALIVE = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "4"}
"""The server drops the session of a vanished host 13 s after the last packet. Ignored on unix sockets."""

_ANY_GONE = "SELECT EXISTS (SELECT FROM engine.gone_workers())"
_FORGET_GONE = """
WITH gone AS (SELECT worker_id FROM engine.gone_workers()),
unregistered AS (DELETE FROM public.procrastinate_workers w USING gone WHERE w.id = gone.worker_id)
DELETE FROM engine.workers w USING gone WHERE w.worker_id = gone.worker_id RETURNING w.worker_id
"""


class SessionLost(Transient):
    """The session of this process has ended: other workers rescue its deliveries."""


class Session:
    """The session of this process, with its advisory lock. Create it with `open()`; `close()` it after use."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], key: int) -> None:
        self.key = key
        self._is_answered = False
        self._connection = connection
        self._watch = asyncio.create_task(self._keep_watch(), name="worker session")

    @classmethod
    async def open(cls) -> Self:
        """Connect and take the lock. Raises `SetupError` if no key is free, and psycopg's errors."""
        address = await asyncio.to_thread(database.conninfo, application_name=APPLICATION, **_KEEPALIVE)
        connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
        try:
            for _ in range(_TRIES):
                key = 1 + secrets.randbelow(2**31 - 1)
                row = await (await connection.execute(_LOCK, [_CLASS, key])).fetchone()
                if row and row[0]:
                    return cls(connection, key)
        except BaseException:
            await connection.close()
            raise
        await connection.close()
        raise SetupError(f"cannot take an advisory lock: {_TRIES} random keys are all held")

    @property
    def lost(self) -> asyncio.Task[None]:
        """A task that ends when the session does."""
        return self._watch

    async def close(self) -> None:
        """End the session, which releases the lock. The process's workers must already be unregistered."""
        self._watch.cancel()
        database.hang_up(self._connection)
        await asyncio.wait({self._watch})
        await self._connection.close()

    async def _keep_watch(self) -> None:
        asking = asyncio.create_task(self._ask(), name="worker session: ask")
        try:
            self._is_answered = True
            while self._is_answered and not asking.done():
                self._is_answered = False
                await asyncio.wait({asking}, timeout=_PING_S + _PATIENCE_S)
        finally:
            # Close first: a cancelled query waits for the server, which may never answer.
            database.hang_up(self._connection)
            asking.cancel()
            await asyncio.wait({asking})

    async def _ask(self) -> None:
        with suppress(psycopg.Error):
            while True:
                # Returns after the interval; raises at once if the server closes the connection.
                async for _ in self._connection.notifies(timeout=_PING_S):
                    pass
                await self._connection.execute("SELECT 1")
                self._is_answered = True


def any_gone(connection: Connection) -> bool:
    """Whether a registered worker's session has ended."""
    row = connection.execute(_ANY_GONE).fetchone()
    return row is not None and bool(row[0])


def forget_gone(connection: Connection) -> list[int]:
    """Unregister workers whose session has ended, so that they can fetch no more. Returns their ids.

    Raises `psycopg.errors.LockNotAvailable` if such a worker still has rows locked: the next pass retries.
    """
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '200ms'")
        return [worker_id for (worker_id,) in connection.execute(_FORGET_GONE)]
