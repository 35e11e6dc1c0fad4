"""Event ids: two different events with one id are rejected, an exact repeat is one event."""

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
    """Return different results of one type without a key."""
    return [cause.follow(Echo(word=f"line {n}"), toy.NOW) for n in range(count)]


def served(handle: Handle) -> Wiring:
    """Use the toy domain with another handler of words."""
    return Wiring(handlers={Said: handle, Echo: toy.echo, Made: toy.made}, effects={})


def test_different_events_with_one_id_are_not_published(connection: Connection, outside: toy.Outside) -> None:
    """The error names the type and recommends a `key`. Nothing of the call is published."""
    with pytest.raises(ReusedId, match=r"toy/echo\.heard .*key"), as_service(connection):
        publish(connection, *lines(say("order"), 4))
    assert waiting(connection) == 0


async def test_different_events_with_one_id_are_not_published_asynchronously(
    database: Database, outside: toy.Outside
) -> None:
    """The same rule for asyncio."""
    async with await AsyncConnection.connect(doors.conninfo(database.url)) as connection:
        with pytest.raises(ReusedId, match="key"):
            await publish_async(connection, *lines(say("order"), 2))


def test_other_data_another_tenant_or_another_type_is_another_event(
    connection: Connection, outside: toy.Outside
) -> None:
    """Each of them makes a difference."""
    event = say("one")
    for other in (
        event.model_copy(update={"data": Said(word="two")}),
        event.model_copy(update={"tenantid": event.id}),
        say("x").follow(Echo(word="one"), toy.NOW, event_id=event.id),
    ):
        with pytest.raises(ReusedId):
            publish(connection, event, other)


def test_an_exact_repeat_is_one_event(connection: Connection, outside: toy.Outside) -> None:
    """Time and cause may differ."""
    fact = say("fact").id
    told = [say(f"cause {n}").follow(Echo(word="same"), toy.NOW, event_id=fact) for n in range(3)]
    publish(connection, *told)
    drain()
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0


def test_a_handler_that_reuses_an_id_is_refused(connection: Connection, outside: toy.Outside) -> None:
    """Its event is buried with the reason; the others of its batch are applied."""

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


def test_a_long_stream_is_compared_as_a_whole(connection: Connection, outside: toy.Outside) -> None:
    """Also if thousands of events lie between two with one id."""
    cause = say("long")

    def stream(*numbers: int) -> Iterator[Event[Echo]]:
        for n in numbers:
            yield cause.follow(Echo(word=str(n)), toy.NOW, key=str(n % 12_000))

    with pytest.raises(ReusedId, match="key"), as_service(connection):
        publish_all(connection, stream(*range(12_000), 12_000))
    with as_service(connection):
        assert publish_all(connection, stream(*range(12_000))) == 12_000


def test_results_of_all_handlers_are_compared(connection: Connection, outside: toy.Outside) -> None:
    """Two handlers that publish different events with one id: the second is buried."""
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


def test_the_id_has_a_fixed_position_in_the_json() -> None:
    """With every attribute present."""
    event = say("word")
    whole = event.model_copy(update={"tenantid": event.id, "datacontenttype": "application/json", "subject": event.id})
    assert [one.json_bytes().decode()[distinct._ID] for one in (event, whole)] == [str(event.id)] * 2  # noqa: SLF001


def test_a_stream_that_is_compared_in_parts_has_no_id_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeat is found, and different ids are accepted."""
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
