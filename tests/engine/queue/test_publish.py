"""Publish: events enter the queue on the caller's own connection, whatever its settings are."""

from __future__ import annotations

import pytest
from psycopg import AsyncConnection, sql

from app import database as doors
from app.context import Connection
from app.database import as_service
from app.engine.queue.publish import publish, publish_async, put_back
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import drain, scalar
from tests.helpers.toy import say

PATHS = ["", "toy", "pg_catalog"]


@pytest.fixture(params=PATHS)
def elsewhere(request: pytest.FixtureRequest, connection: Connection) -> Connection:
    """A connection whose search_path does not name `public`."""
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Literal(request.param)))
    return connection


def test_publish_needs_no_search_path(elsewhere: Connection, outside: toy.Outside) -> None:
    """Procrastinate's function and its triggers find their tables although the connection's path lacks `public`."""
    with as_service(elsewhere):
        publish(elsewhere, say("single"))
        publish(elsewhere, *[say(f"batch {n}") for n in range(3)])
        event = say("again")
        put_back(elsewhere, [(event, event.model_dump(mode="json", exclude_none=True))], delay=0, attempt=1)
    drain()
    assert scalar(elsewhere, "SELECT count(*) FROM toy.heard") == 5


async def test_an_asynchronous_producer_needs_none_either(database: Database, outside: toy.Outside) -> None:
    """The same statement on an asynchronous connection."""
    connection = await AsyncConnection.connect(doors.conninfo(database.url, search_path="toy"))
    async with connection:
        await publish_async(connection, say("async"))
        await publish_async(connection, say("a"), say("b"))
    async with await AsyncConnection.connect(doors.conninfo(database.url)) as other:
        cursor = await other.execute("SELECT count(*) FROM public.procrastinate_jobs")
        assert await cursor.fetchone() == (2,)


def test_no_row_carries_more_events_than_the_wiring_allows(connection: Connection, outside: toy.Outside) -> None:
    """Also when the caller asks for more in one."""
    publish(connection, *[say(f"{n:04}") for n in range(1001)], batch_size=10_000)
    sizes = (
        "SELECT jsonb_array_length(args -> 'events') FROM public.procrastinate_jobs WHERE args ? 'events' ORDER BY 1"
    )
    assert [size for (size,) in connection.execute(sizes)] == [500, 500]
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 3
