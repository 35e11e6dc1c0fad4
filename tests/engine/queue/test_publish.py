"""Publish events into the queue, on the caller's connection and in its transaction."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from app import database as doors
from app.context import Connection
from app.database import as_service
from app.engine.queue.publish import publish, publish_async, put_back
from events import InvalidEvent
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import drain, scalar
from tests.helpers.toy import Outside, say, want

PATHS = ["", "toy", "pg_catalog"]


@pytest.fixture(params=PATHS)
def elsewhere(request: pytest.FixtureRequest, connection: Connection) -> Connection:
    """A connection whose `search_path` lacks `public`."""
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Literal(request.param)))
    return connection


def test_publish_needs_no_search_path(elsewhere: Connection, outside: toy.Outside) -> None:
    """Procrastinate's function and triggers find their tables."""
    with as_service(elsewhere):
        publish(elsewhere, say("single"))
        publish(elsewhere, *[say(f"batch {n}") for n in range(3)])
        event = say("again")
        put_back(elsewhere, [(event, event.model_dump(mode="json", exclude_none=True))], delay=0, attempt=1)
    drain()
    assert scalar(elsewhere, "SELECT count(*) FROM toy.heard") == 5


async def test_publishing_asynchronously_needs_no_search_path(database: Database, outside: toy.Outside) -> None:
    """The statement is the same."""
    connection = await AsyncConnection.connect(doors.conninfo(database.url, search_path="toy"))
    async with connection:
        await publish_async(connection, say("async"))
        await publish_async(connection, say("a"), say("b"))
    async with await AsyncConnection.connect(doors.conninfo(database.url)) as other:
        cursor = await other.execute("SELECT count(*) FROM public.procrastinate_jobs")
        assert await cursor.fetchone() == (2,)


def test_no_row_carries_more_events_than_the_wiring_allows(connection: Connection, outside: toy.Outside) -> None:
    """Even if the caller asks for more."""
    publish(connection, *[say(f"{n:04}") for n in range(1001)], batch_size=10_000)
    sizes = (
        "SELECT jsonb_array_length(args -> 'events') FROM public.procrastinate_jobs WHERE args ? 'events' ORDER BY 1"
    )
    assert [size for (size,) in connection.execute(sizes)] == [500, 500]
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 3


def rows(connection: Connection) -> list[tuple[str, str, int]]:
    """Return task, queue and priority of every row, in order."""
    return connection.execute(
        "SELECT task_name, queue_name, priority FROM public.procrastinate_jobs ORDER BY id"
    ).fetchall()


def test_events_are_grouped_into_rows(connection: Connection, outside: Outside) -> None:
    """Events of handlers before effects, each in batches of its own size."""
    publish(connection, say("alone"))
    publish(connection, *[say(f"w{n}") for n in range(501)], *[want(f"c{n}") for n in range(30)])
    assert rows(connection) == [
        ("consume", "events", 10),
        ("consume_parcel", "events", 10),
        ("consume", "events", 10),
        ("perform", "toys", 0),
        ("perform", "toys", 0),
    ]


def test_publishing_asynchronously_is_transactional(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """A rollback discards the events."""

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(doors.conninfo(database.url)) as opened:
            await publish_async(opened, say("kept"))
            await opened.commit()
            await publish_async(opened, say("dropped"))
            await opened.rollback()

    asyncio.run(run())
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 1


@pytest.mark.parametrize("word", ["x" * 300_000, "nul \x00", "half \ud800"])
def test_an_event_that_cannot_be_stored_is_refused(connection: Connection, outside: Outside, word: str) -> None:
    """Too large, a NUL, half a surrogate pair: the error names the event, and no row is inserted."""
    with pytest.raises(InvalidEvent, match=r"toy/word\.said"):
        publish(connection, say("good"), say(word))
    assert rows(connection) == []


def test_a_person_cannot_publish(database: Database, connection: Connection, outside: Outside) -> None:
    """Only service_role may write the queue."""
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        doors.as_person(connection, toy.say("x").id),
    ):
        publish(connection, say("smuggled"))
