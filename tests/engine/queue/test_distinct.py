"""Distinct: two different events with one id are never published together; an exact repeat is one event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from psycopg import AsyncConnection

from app import database as doors
from app.context import Connection, HandlerContext
from app.database import as_service
from app.engine import domain
from app.engine.domain import Wiring
from app.engine.queue import distinct
from app.engine.queue.publish import publish, publish_all, publish_async
from app.errors import ReusedId
from events import Event
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import drain, scalar, waiting
from tests.helpers.toy import Echo, Made, Said, say

Handle = Callable[[HandlerContext, list[Event[Any]]], Iterable[Event[Any]]]


def lines(cause: Event[Said], count: int) -> list[Event[Echo]]:
    """Consequences of one type that differ, without a key."""
    return [cause.follow(Echo(word=f"line {n}"), toy.NOW) for n in range(count)]


def served(handle: Handle) -> Wiring:
    """The toy's wiring, with words handled this way."""
    return Wiring(handlers={Said: handle, Echo: toy.echo, Made: toy.made}, effects={})


def test_different_events_with_one_id_are_not_published(connection: Connection, outside: toy.Outside) -> None:
    """The error names the type and says `key`; nothing of the call is published."""
    with pytest.raises(ReusedId, match=r"toy/echo\.heard .*key"), as_service(connection):
        publish(connection, *lines(say("order"), 4))
    assert waiting(connection) == 0


async def test_nor_by_an_asynchronous_producer(database: Database, outside: toy.Outside) -> None:
    """The same rule in an event loop."""
    async with await AsyncConnection.connect(doors.conninfo(database.url)) as connection:
        with pytest.raises(ReusedId, match="key"):
            await publish_async(connection, *lines(say("order"), 2))


def test_other_data_another_tenant_or_another_type_is_another_event(
    connection: Connection, outside: toy.Outside
) -> None:
    """Whatever differs of the fact itself counts."""
    event = say("one")
    for other in (
        event.model_copy(update={"data": Said(word="two")}),
        event.model_copy(update={"tenantid": event.id}),
        say("x").follow(Echo(word="one"), toy.NOW, event_id=event.id),
    ):
        with pytest.raises(ReusedId):
            publish(connection, event, other)


def test_an_exact_repeat_is_one_event(connection: Connection, outside: toy.Outside) -> None:
    """A fact that determines its id may be said by several causes, at several times."""
    fact = say("fact").id
    told = [say(f"cause {n}").follow(Echo(word="same"), toy.NOW, event_id=fact) for n in range(3)]
    publish(connection, *told)
    drain()
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0


def test_a_handler_that_reuses_an_id_is_refused(connection: Connection, outside: toy.Outside) -> None:
    """Its event is a dead letter that says why, the others of its batch are applied."""

    def handle(context: HandlerContext, said: list[Event[Said]]) -> Iterator[Event[Echo]]:
        for event in said:
            yield from lines(event, event.data.echoes)
            toy.note(context, event.id, event.data.word)

    with domain.use(served(handle)):
        publish(connection, say("one", echoes=1), say("four", echoes=4), say("none"))
        drain()
    assert scalar(connection, "SELECT array_agg(word ORDER BY word) FROM toy.heard") == [
        "echo of line 0",
        "none",
        "one",
    ]
    found = connection.execute("SELECT event_data->'data'->>'word', error_class, error_message FROM engine.failed_jobs")
    ((word, error, why),) = found.fetchall()
    assert (word, error) == ("four", "ReusedId")
    assert "toy/echo.heard" in why
    assert "key" in why


def test_a_long_stream_is_looked_at_as_a_whole(connection: Connection, outside: toy.Outside) -> None:
    """Also where thousands of events lie between two with one id."""
    cause = say("long")

    def stream(*numbers: int) -> Iterator[Event[Echo]]:
        for n in numbers:
            yield cause.follow(Echo(word=str(n)), toy.NOW, key=str(n % 12_000))

    with pytest.raises(ReusedId, match="key"), as_service(connection):
        publish_all(connection, stream(*range(12_000), 12_000))
    with as_service(connection):
        assert publish_all(connection, stream(*range(12_000))) == 12_000


def test_types_of_one_delivery_are_looked_at_together(connection: Connection, outside: toy.Outside) -> None:
    """Two handlers that publish under one id for different facts: neither is lost, the second is a dead letter."""
    shared = say("shared").id

    def tell(context: HandlerContext, some: list[Event[Any]]) -> Iterator[Event[Made]]:
        for event in some:
            toy.note(context, event.id, event.type)
            yield event.follow(Made(word=event.type, outcome="told"), toy.NOW, event_id=shared)

    with domain.use(Wiring(handlers={Said: tell, Echo: tell, Made: toy.made}, effects={})):
        publish(connection, say("a"), say("b").follow(Echo(word="b"), toy.NOW))
        drain()
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 3
    dead = connection.execute("SELECT job_type, error_class FROM engine.failed_jobs").fetchall()
    assert dead == [("toy/call.made", "ReusedId")]


def test_the_id_stands_where_it_is_read() -> None:
    """Publishing reads the ids out of the JSON that it writes: every attribute may be there."""
    event = say("word")
    whole = event.model_copy(update={"tenantid": event.id, "datacontenttype": "application/json", "subject": event.id})
    assert [one.json_bytes().decode()[distinct._ID] for one in (event, whole)] == [str(event.id)] * 2  # noqa: SLF001


def test_a_stream_that_is_compared_in_parts_has_no_id_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are compared part by part in a long stream; a repeat is found, different ids are not refused."""
    monkeypatch.setattr(distinct, "_AT_ONCE", 1000)
    events = [say(f"word {n}") for n in range(6000)]
    texts = [event.json_bytes().decode() for event in events]
    ids = distinct.Ids()
    for start in range(0, len(events), 2000):
        ids.add(events[start : start + 2000], texts[start : start + 2000])
    ids.check()
    ids.add(events[:1], texts[:1])
    with pytest.raises(ReusedId, match="two of the events"):
        ids.check()
