"""Session settings: every kind of connection has the same ones, and RESET ALL keeps them."""

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
    """Return the settings of a producer's connection, after RESET ALL."""
    with doors.connect(autocommit=True) as connection:
        connection.execute("RESET ALL")
        return _row(connection)


async def of_a_pool() -> Shown:
    """Return the settings of a connection of the deliveries' pool."""
    with doors.pool() as pool, pool.connection() as connection:
        return _row(connection)


async def of_procrastinate() -> Shown:
    """Return the settings of a connection of Procrastinate's pool."""
    connector = fresh_connector()
    await connector.open_async()
    try:
        found: Shown = await connector.execute_query_one_async(_SHOW)
        return found
    finally:
        await connector.close_async()


async def of_the_session() -> Shown:
    """Return the settings of the session that shows that a worker is alive."""
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
    """It is no superuser, and every wait has a time limit."""
    assert await shown() == LIMITS


def test_every_setting_is_checked() -> None:
    """A setting added to `SESSION` must be added here."""
    assert set(LIMITS) == set(doors.SESSION)
