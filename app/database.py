"""Database connections, pools, time limits, and transactions as a role.

`as_service()` is for workers and producers, `as_person()` for a signed-in user, `as_visitor()` for an anonymous user.
Each opens one transaction and sets the role with SET LOCAL, so the role ends with the transaction also if an error
occurs or the connection returns to a pool.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from app.context import Connection
from app.postgres import embedded
from app.settings import settings

_LIMITS = {
    "connect_timeout": "5",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}

_SEVERAL_HOSTS = {"connect_timeout": "3", "target_session_attrs": "read-write"}
"""Replacements if the URL has several hosts: the time limit of each host, and standbys are skipped."""
_SHORTEST_CONNECT_S = 2.0
"""libpq's own lower bound of `connect_timeout`."""

SESSION = {
    "role": "service_role",
    "search_path": "public",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "120s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "client_connection_check_interval": "1s",
}
"""Session settings of every connection of a worker or a producer: an unprivileged role, and time limits.

If the client disconnects, the server ends its statement within a second and releases its locks."""


def url() -> str:
    """Return the URL for workers and producers. Starts the embedded server if DATABASE_URL is not set."""
    return settings().database_url or embedded.ensure_running().service_url


def owner_url() -> str:
    """Return the URL for migrations, as the owner of the schema. Starts the embedded server if no URL is set."""
    given = settings()
    if given.migration_database_url or given.database_url:
        return given.migration_database_url or given.database_url or ""
    return embedded.ensure_running().owner_url


def conninfo(address: str | None = None, *, application_name: str = "tallyman", **session: str) -> str:
    """Return a connection string with time limits and the session settings `SESSION` and `session`.

    The settings are part of the start-up packet, so `RESET ALL` restores them and not the login's defaults.
    """
    address = address or url()
    given = conninfo_to_dict(address)
    wanted = {**SESSION, "role": settings().service_role, **session}
    switches = [str(given["options"])] if given.get("options") else []
    switches += [f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in wanted.items()]
    return make_conninfo(bounded(address), options=" ".join(switches), application_name=application_name)


def bounded(address: str) -> str:
    """Return a connection string with time limits for connecting and for a dead network. Limits in `address` win.

    If `address` has several hosts, each is tried for `connect_timeout`, and the first that accepts writes is used.
    """
    given = conninfo_to_dict(address)
    wanted = {**_LIMITS, **_SEVERAL_HOSTS} if _hosts(given) > 1 else _LIMITS
    return make_conninfo(address, **{name: value for name, value in wanted.items() if name not in given})


def pool_timeout(address: str | None = None) -> float:
    """Return the seconds to wait for a connection of a pool: the time to try every host, plus one second."""
    given = conninfo_to_dict(bounded(address or url()))
    # For libpq, 0 or less means no limit; psycopg's limit is then too long.
    asked = float(given["connect_timeout"] or 0) or float(_LIMITS["connect_timeout"])
    return _hosts(given) * max(asked, _SHORTEST_CONNECT_S) + 1


def _hosts(given: Mapping[str, Any]) -> int:
    return len(str(given.get("hostaddr") or given.get("host") or "").split(","))


def connect(address: str | None = None, *, autocommit: bool = False) -> Connection:
    """Open a new connection as `service_role`. The caller closes it."""
    return psycopg.connect(conninfo(address), autocommit=autocommit)


class _Pooled(psycopg.Connection[Any]):
    """A connection of a pool. `hang_up_pools()` finds it also while it is in use."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        with _ALL_POOLED:
            _pooled.add(self)


_pooled: WeakSet[_Pooled] = WeakSet()
_ALL_POOLED = Lock()


def hang_up_pools() -> None:
    """Shut down all connections of this process's pools. Threads that wait on one fail at once."""
    with _ALL_POOLED:
        found = list(_pooled)
    for connection in found:
        hang_up(connection)


_CHECK_IS_FRESH_S = 1.0
_checked: WeakKeyDictionary[object, float] = WeakKeyDictionary()
"""When a connection of a pool was last used, by `time.monotonic()`."""


def check_connection(connection: psycopg.Connection[Any]) -> None:
    """Ask the server whether a pool's connection works, unless it was used less than a second ago.

    Raises `psycopg.OperationalError` if it does not. A connection that is lost within that second is found when it is
    used, like one that is lost later.
    """
    if not _was_just_used(connection):
        ConnectionPool.check_connection(connection)


async def check_connection_async(connection: psycopg.AsyncConnection[Any]) -> None:
    """Check a connection of an asynchronous pool as `check_connection()` does."""
    if not _was_just_used(connection):
        await AsyncConnectionPool.check_connection(connection)


def _was_just_used(connection: object) -> bool:
    now = time.monotonic()
    before, _checked[connection] = _checked.get(connection, -math.inf), now
    return now - before <= _CHECK_IS_FRESH_S


def pool(
    *, min_size: int = 1, max_size: int = 4, address: str | None = None, **session: str
) -> ConnectionPool[Connection]:
    """Open a pool of connections as `service_role`. `session`: see `conninfo`. The caller closes it."""
    made: ConnectionPool[Connection] = ConnectionPool(
        conninfo(address, **session),
        connection_class=_Pooled,
        min_size=min_size,
        max_size=max_size,
        open=True,
        timeout=pool_timeout(address),
        check=check_connection,
        name="tallyman",
    )
    return made


def hang_up(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Shut down a connection's socket, from any thread. A thread that waits on the connection fails at once.

    The server ends the session when it next reads from the socket. The caller must still close the connection.
    """
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


@contextmanager
def as_service(connection: Connection) -> Iterator[Connection]:
    """Open a transaction as the role of workers and producers: `Settings.service_role`."""
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(settings().service_role)))
        yield connection


@contextmanager
def as_login(connection: Connection) -> Iterator[Connection]:
    """Use the login's own role in a block of the current transaction. PostgreSQL shows it the login's sessions."""
    row = connection.execute("SELECT current_setting('role')").fetchone()
    connection.execute("SET LOCAL ROLE NONE")
    try:
        yield connection
    finally:
        connection.execute("SELECT set_config('role', %s, true)", [row[0] if row else "none"])


@contextmanager
def as_person(connection: Connection, user_id: UUID, **claims: Any) -> Iterator[Connection]:
    """Open a transaction as `authenticated`, with `user_id` as the subject of the request's JWT claims."""
    with connection.transaction():
        _claim(connection, {**claims, "sub": str(user_id), "role": "authenticated"})
        connection.execute("SET LOCAL ROLE authenticated")
        yield connection


@contextmanager
def on_behalf(connection: Connection) -> Iterator[Connection]:
    """Use the workers' role in a block of a person's transaction (`as_person`). An error rolls the block back.

    The caller has checked as the person that the person may do this, and limits the block to that tenant.
    """
    with connection.transaction():  # an error rolls back to here, and the role with it
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(settings().service_role)))
        yield connection
        connection.execute("SET LOCAL ROLE authenticated")


@contextmanager
def as_visitor(connection: Connection, **claims: Any) -> Iterator[Connection]:
    """Open a transaction as `anon`, with the JWT claims `claims` (for example a share token) and no subject."""
    with connection.transaction():
        _claim(connection, {**claims, "role": "anon"})
        connection.execute("SET LOCAL ROLE anon")
        yield connection


def _claim(connection: Connection, claims: dict[str, Any]) -> None:
    connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
