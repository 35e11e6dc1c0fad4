"""Limits: every kind of connection of a worker or a producer starts with the same ones, and RESET ALL keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app import database as doors
from app.engine.worker.app import fresh_connector
from app.engine.worker.liveness import Session
from tests.conftest import Database

LIMITS = {
    "role": "service_role",
    "search_path": "public",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "2min",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "1min",
    "client_connection_check_interval": "1s",
}
_SHOW = "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in LIMITS)

Shown = dict[str, Any]


async def of_a_connection() -> Shown:
    """A producer's connection, after RESET ALL."""
    with doors.connect(autocommit=True) as connection:
        connection.execute("RESET ALL")
        return _row(connection)


async def of_a_pool() -> Shown:
    """A connection of the pool that deliveries use."""
    with doors.pool() as pool, pool.connection() as connection:
        return _row(connection)


async def of_procrastinate() -> Shown:
    """A connection of Procrastinate's own pool, which fetches and listens."""
    connector = fresh_connector()
    await connector.open_async()
    try:
        found: Shown = await connector.execute_query_one_async(_SHOW)
        return found
    finally:
        await connector.close_async()


async def of_the_session() -> Shown:
    """The connection that shows that the worker's process lives."""
    session = await Session.open()
    try:
        cursor = await session._connection.execute(_SHOW.encode())  # noqa: SLF001 - the session runs nothing for others
        return dict(zip(LIMITS, await cursor.fetchone() or (), strict=True))
    finally:
        await session.close()


def _row(connection: Any) -> Shown:
    return dict(zip(LIMITS, connection.execute(_SHOW.encode()).fetchone(), strict=True))


@pytest.mark.parametrize("shown", [of_a_connection, of_a_pool, of_procrastinate, of_the_session])
async def test_a_connection_has_every_limit(database: Database, shown: Callable[[], Any]) -> None:
    """Never a superuser, and never for ever: not in a statement, not behind a lock, not idle in a transaction."""
    assert await shown() == LIMITS


def test_no_limit_is_forgotten_here() -> None:
    """A limit that is added to `SESSION` is looked at on every kind of connection too."""
    assert set(LIMITS) == set(doors.SESSION)
