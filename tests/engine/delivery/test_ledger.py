"""Ledger: an id stands for one combination of type, tenant and data, in any row, batch or delivery."""

from __future__ import annotations

import json
from typing import Any

from psycopg.types.json import Jsonb
from pydantic_core import to_json

from app.context import Connection
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.manage import edit
from app.engine.delivery.ledger import enter
from app.engine.inspect.explain import explain_event
from app.engine.inspect.invariants import ENGINE, audit
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import publish
from events import KINDS, Event
from events.base import upcaster
from tests.helpers import toy
from tests.helpers.support import drain, scalar, waiting
from tests.helpers.toy import Said, say, want


def other(event: Event[Said], word: str) -> Event[Said]:
    """Return an event with the same id and other data."""
    return event.model_copy(update={"data": Said(word=word)})


def heard(connection: Connection) -> list[str]:
    """Return the applied words."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def dead(connection: Connection) -> list[tuple[str, str]]:
    """Return word and error class of the open dead letters."""
    return connection.execute(
        "SELECT event_data->'data'->>'word', error_class FROM engine.failed_jobs WHERE resolved_at IS NULL ORDER BY 1"
    ).fetchall()


def test_an_applied_id_with_other_data_is_buried(connection: Connection, outside: toy.Outside) -> None:
    """The error recommends a `key`. A second delivery updates the same letter."""
    event = say("first")
    publish(connection, event)
    drain()
    for _ in range(2):
        publish(connection, other(event, "second"), say("beside"))
        drain()
    assert heard(connection) == ["beside", "beside", "first"]
    assert dead(connection) == [("second", "ReusedId")]
    assert "key" in scalar(connection, "SELECT error_message FROM engine.failed_jobs")
    assert [reason.kind for reason in explain_event(connection, event.id)] == ["done", "dead"]
    assert all(verdict.holds for verdict in audit(connection, ENGINE))


def test_a_copy_beside_a_different_event_with_its_id_is_no_conflict(
    connection: Connection, outside: toy.Outside
) -> None:
    """In one transaction, in either order: each is compared with the ledger."""
    event = say("first")
    publish(connection, event)
    drain()
    with connection.transaction():
        for one in (other(event, "second"), event, other(event, "third"), event):
            publish(connection, one)
    drain(concurrency=1)
    assert heard(connection) == ["first"]
    assert dead(connection) == [("second", "ReusedId"), ("third", "ReusedId")]
    assert waiting(connection) == 0


def test_of_two_events_with_one_id_in_a_batch_one_is_applied_and_one_is_buried(
    connection: Connection, outside: toy.Outside
) -> None:
    """Also in one transaction."""
    event = say("first")
    with connection.transaction():
        for one in (event, other(event, "second"), event, other(event, "third")):
            publish(connection, one)
    drain(concurrency=1)
    assert heard(connection) == ["first"]
    assert dead(connection) == [("second", "ReusedId"), ("third", "ReusedId")]
    assert waiting(connection) == 0


def test_the_same_event_again_is_no_conflict(connection: Connection, outside: toy.Outside) -> None:
    """Another time or cause, or a default that is written out, makes no difference."""
    event = say("same")
    publish(connection, event)
    drain()
    raw = json.loads(event.json_bytes())
    again: list[dict[str, Any]] = [
        {**raw, "time": "2027-01-01T00:00:00Z", "causationid": str(say("x").id)},
        {**raw, "data": {"mood": "fine", "word": "same"}},
    ]
    for one in again:
        connection.execute("SELECT engine.enqueue(%s)", [Jsonb([row(one)])])
    drain()
    assert heard(connection) == ["same"]
    assert dead(connection) == []


def test_events_are_applied_in_their_order_when_one_of_them_is_repeated(
    connection: Connection, outside: toy.Outside
) -> None:
    """The first event of each id, in the order of publication."""
    first, second, third = say("c"), say("b"), say("a")
    rows = [Row(number, to_json(event).decode()) for number, event in enumerate([first, second, first, third])]
    with connection.transaction():
        assert [event.data.word for event in enter(connection, open_rows(rows))] == ["c", "b", "a"]


def test_an_older_version_of_an_applied_event_is_no_conflict(connection: Connection, outside: toy.Outside) -> None:
    """Both are compared in the current version."""
    kind = KINDS["toy/word.said"]
    Said.version = 2
    upcaster(Said, since=1)(lambda data: {"word": data["text"]})
    try:
        event = say("old")
        publish(connection, event)
        drain()
        raw = json.loads(event.json_bytes())
        for text in ("old", "other"):
            older = {**raw, "dataschema": "toy/word.said/1", "data": {"text": text}}
            connection.execute("SELECT engine.enqueue(%s)", [Jsonb([row(older)])])
        drain()
    finally:
        Said.version = 1
        kind.upcasters.clear()
    assert heard(connection) == ["old"]
    assert scalar(connection, "SELECT array_agg(event_data->'data'->>'text') FROM engine.failed_jobs") == ["other"]


def test_an_effect_with_an_applied_id_and_other_data_is_not_called(
    connection: Connection, outside: toy.Outside
) -> None:
    """It is buried, in a later batch and in the same one."""
    event = want("first")
    second = event.model_copy(update={"data": toy.Wanted(word="second")})
    publish(connection, event)
    drain()
    publish(connection, second)
    drain()
    both = want("third")
    with connection.transaction():
        rows = [json.loads(one.json_bytes()) for one in (both, both.model_copy(update={"data": second.data}))]
        connection.execute("SELECT engine.enqueue(%s)", [Jsonb([batch(rows)])])
    drain()
    assert [word for word, _ in outside.calls] == ["first", "third"]
    assert dead(connection) == [("second", "ReusedId"), ("second", "ReusedId")]


def test_a_letter_with_the_id_of_another_event_is_edited_not_replayed(
    connection: Connection, outside: toy.Outside
) -> None:
    """The plan has it as invalid. An edit publishes it under a new id."""
    event = say("first")
    publish(connection, event)
    drain()
    publish(connection, other(event, "second"))
    drain()
    plan = plans.make(connection, Filters(), actor="test")
    (letter,) = plans.letters(connection, plan.id)
    assert letter.class_ == "invalid"
    assert "dead edit" in (letter.detail or "")
    edit(connection, letter.letter_id, {"word": "second"}, reason=None, actor="test")
    drain()
    assert heard(connection) == ["first", "second"]
    assert dead(connection) == []


def row(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a queue row of one event."""
    return {"queue": "events", "task": "consume", "priority": 10, "delay": 0, "args": raw}


def batch(raws: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a queue row of several effects."""
    return {"queue": "toys", "task": "perform", "priority": 0, "delay": 0, "args": {"attempt": 0, "events": raws}}
