"""Liveness: a database session that shows that a worker's process lives.

Each process holds an advisory lock on a connection of its own for as long as it runs. The kernel closes the connection
when the process dies, PostgreSQL ends the session and releases the lock, and the next rescue finds the
worker gone. The heartbeat stays for what a session cannot show: a frozen process, a cut network.

A process that lives but lost its session (a terminated backend, a restart, a failover) is taken for dead by others. It
notices within seconds, stops its deliveries and registers anew.
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
"""`tall` in ASCII: the first key of the advisory lock. The second one is the process's own."""
_LOCK = "SELECT pg_try_advisory_lock(%s, %s)"
_TRIES = 10
_PING_S = 2.0
"""How often the session is asked whether it still lives. A closed connection is noticed at once, without asking."""
_PATIENCE_S = 5.0
"""How long an answer may take before the session counts as lost."""
_KEEPALIVE = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "4"}
"""The server's side of the connection: it drops the session of a host that vanished 13 s after its last sign of life.
Where the connection is a unix socket PostgreSQL ignores them."""

_ANY_GONE = "SELECT EXISTS (SELECT FROM engine.gone_workers())"
_FORGET_GONE = """
WITH gone AS (SELECT worker_id FROM engine.gone_workers()),
unregistered AS (DELETE FROM public.procrastinate_workers w USING gone WHERE w.id = gone.worker_id)
DELETE FROM engine.workers w USING gone WHERE w.worker_id = gone.worker_id RETURNING w.worker_id
"""


class SessionLost(Transient):
    """The session that shows that this process lives has ended: others take its deliveries over."""


class Session:
    """The session of this process, with its advisory lock. Made by `open()`, to be closed."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], key: int) -> None:
        self.key = key
        self._is_answered = False
        self._connection = connection
        self._watch = asyncio.create_task(self._keep_watch(), name="worker session")

    @classmethod
    async def open(cls) -> Self:
        """Connect and take the lock. Raises `SetupError` where no key is free, and psycopg's errors."""
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
        """Release the lock by ending the session. The process's workers must be unregistered by now."""
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
            # Closed first: a cancelled query waits for the server, which may answer nothing for ever.
            database.hang_up(self._connection)
            asking.cancel()
            await asyncio.wait({asking})

    async def _ask(self) -> None:
        with suppress(psycopg.Error):
            while True:
                # Returns when the time is over; raises at once when the server closes the connection.
                async for _ in self._connection.notifies(timeout=_PING_S):
                    pass
                await self._connection.execute("SELECT 1")
                self._is_answered = True


def any_gone(connection: Connection) -> bool:
    """Whether a registered worker's session has ended."""
    row = connection.execute(_ANY_GONE).fetchone()
    return row is not None and bool(row[0])


def forget_gone(connection: Connection) -> list[int]:
    """Unregister workers whose session has ended; returns their ids. They cannot fetch any more.

    Rows that such a worker still holds locked are left for the next pass: raises `psycopg.errors.LockNotAvailable`.
    """
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '200ms'")
        return [worker_id for (worker_id,) in connection.execute(_FORGET_GONE)]
