"""Connections of pools: lost ones are replaced before they are used."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from app import database as doors
from app.context import Connection
from tests.conftest import Database
from tests.helpers.support import scalar


def end(connection: Connection, pid: int) -> None:
    """End a session of the same login, and wait until it has ended."""
    with connection.transaction(), doors.as_login(connection):
        assert scalar(connection, "SELECT pg_terminate_backend(%s, 5000)", pid)


def backend(connection: Connection) -> int:
    """Return the process id of a connection's server process."""
    return int(scalar(connection, "SELECT pg_backend_pid()"))


def test_a_connection_that_was_used_long_ago_is_checked(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was used within the last second is not, which saves a round trip a transaction."""
    with closing(doors.pool(max_size=1, address=database.url)) as pool:
        with pool.connection() as lent:
            first = backend(lent)
        end(connection, first)
        with pytest.raises(psycopg.OperationalError), pool.connection() as lent:
            backend(lent)
        with pool.connection() as lent:
            second = backend(lent)
        end(connection, second)
        monkeypatch.setattr(doors, "_CHECK_IS_FRESH_S", -1.0)
        with pool.connection() as lent:
            assert backend(lent) not in {first, second}


async def test_connections_of_an_asynchronous_pool_are_checked_alike(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a worker's fetches."""
    monkeypatch.setattr(doors, "_CHECK_IS_FRESH_S", -1.0)
    check: Callable[[Any], Any] = doors.check_connection_async
    async with AsyncConnectionPool(doors.conninfo(database.url), min_size=1, max_size=1, check=check) as pool:
        async with pool.connection() as lent:
            first = lent.info.backend_pid
        end(connection, first)
        async with pool.connection() as lent:
            assert lent.info.backend_pid != first
