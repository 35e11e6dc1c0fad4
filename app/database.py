"""Connections, transactions and roles: who is speaking to the database, and within which limits.

Three doors. `as_service()` is for workers and producers, `as_person()` for a signed-in user, `as_visitor()` for
anybody else. Each opens one transaction in which the role is set locally, so that nothing of it outlives the
transaction, whatever happens inside and whichever pool the connection goes back to.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any
from uuid import UUID
from weakref import WeakSet

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

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
"""Where several hosts are given, instead: each has this long, and a standby is passed over."""
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
"""What every connection of a worker or a producer starts with: never a superuser, never without limits.

Where the client is gone, the server ends a statement within a second, and with it the locks that it holds."""


def url() -> str:
    """Where workers and producers connect; starts the embedded server if it is meant and not up."""
    return settings().database_url or embedded.ensure_running().service_url


def owner_url() -> str:
    """Where migrations connect, as the owner of the schema."""
    given = settings()
    if given.migration_database_url or given.database_url:
        return given.migration_database_url or given.database_url or ""
    return embedded.ensure_running().owner_url


def conninfo(address: str | None = None, *, application_name: str = "tallyman", **session: str) -> str:
    """A connection string with time limits, and with `SESSION` and `session` as the connection's own settings.

    They travel in the start-up packet, so `RESET ALL` returns to them and not to the login's defaults.
    """
    address = address or url()
    given = conninfo_to_dict(address)
    wanted = {**SESSION, "role": settings().service_role, **session}
    switches = [str(given["options"])] if given.get("options") else []
    switches += [f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in wanted.items()]
    return make_conninfo(bounded(address), options=" ".join(switches), application_name=application_name)


def bounded(address: str) -> str:
    """A connection string with limits of the time that connecting and a dead network may take; its own ones stay.

    Of several hosts, each is tried within `connect_timeout`, and one that takes writes is chosen.
    """
    given = conninfo_to_dict(address)
    wanted = {**_LIMITS, **_SEVERAL_HOSTS} if _hosts(given) > 1 else _LIMITS
    return make_conninfo(address, **{name: value for name, value in wanted.items() if name not in given})


def pool_timeout(address: str | None = None) -> float:
    """Seconds for which to wait for a connection of a pool: until every host has been tried, and one more."""
    given = conninfo_to_dict(bounded(address or url()))
    # 0 or less is none for libpq, and what psycopg then waits is longer than anybody should.
    asked = float(given["connect_timeout"] or 0) or float(_LIMITS["connect_timeout"])
    return _hosts(given) * max(asked, _SHORTEST_CONNECT_S) + 1


def _hosts(given: Mapping[str, Any]) -> int:
    return len(str(given.get("hostaddr") or given.get("host") or "").split(","))


def connect(address: str | None = None, *, autocommit: bool = False) -> Connection:
    """A connection of its own as `service_role`; the caller closes it."""
    return psycopg.connect(conninfo(address), autocommit=autocommit)


class _Pooled(psycopg.Connection[Any]):
    """A connection of a pool, which `hang_up_pools()` finds wherever it is used."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        with _ALL_POOLED:
            _pooled.add(self)


_pooled: WeakSet[_Pooled] = WeakSet()
_ALL_POOLED = Lock()


def hang_up_pools() -> None:
    """Shut down every connection of this process's pools: whatever a thread waits for on one fails at once."""
    with _ALL_POOLED:
        found = list(_pooled)
    for connection in found:
        hang_up(connection)


def pool(*, min_size: int = 1, max_size: int = 4, address: str | None = None) -> ConnectionPool[Connection]:
    """A pool of connections as `service_role`; open, and to be closed by the caller."""
    made: ConnectionPool[Connection] = ConnectionPool(
        conninfo(address),
        connection_class=_Pooled,
        min_size=min_size,
        max_size=max_size,
        open=True,
        timeout=pool_timeout(address),
        check=ConnectionPool.check_connection,
        name="tallyman",
    )
    return made


def hang_up(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Shut a connection's socket down, from any thread: whatever waits for the server on it fails at once.

    The server ends the session when it next reads from it. The connection still has to be closed.
    """
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


@contextmanager
def as_service(connection: Connection) -> Iterator[Connection]:
    """One transaction as the role of workers and producers, `service_role` unless the settings say otherwise."""
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(settings().service_role)))
        yield connection


@contextmanager
def as_login(connection: Connection) -> Iterator[Connection]:
    """Within a transaction, act for a while as the role that logged in: PostgreSQL shows it its own sessions."""
    row = connection.execute("SELECT current_setting('role')").fetchone()
    connection.execute("SET LOCAL ROLE NONE")
    try:
        yield connection
    finally:
        connection.execute("SELECT set_config('role', %s, true)", [row[0] if row else "none"])


@contextmanager
def as_person(connection: Connection, user_id: UUID, **claims: Any) -> Iterator[Connection]:
    """One transaction as `authenticated`, with `user_id` as the subject of the request's claims."""
    with connection.transaction():
        _claim(connection, {**claims, "sub": str(user_id), "role": "authenticated"})
        connection.execute("SET LOCAL ROLE authenticated")
        yield connection


@contextmanager
def as_visitor(connection: Connection, **claims: Any) -> Iterator[Connection]:
    """One transaction as `anon`, with `claims` (a share token, say) and no subject."""
    with connection.transaction():
        _claim(connection, {**claims, "role": "anon"})
        connection.execute("SET LOCAL ROLE anon")
        yield connection


def _claim(connection: Connection, claims: dict[str, Any]) -> None:
    connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
