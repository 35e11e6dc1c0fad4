"""Unknown events: they wait for a worker that knows them, and are buried only after `unknown_patience`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from app.context import Connection
from app.engine import domain
from app.engine.delivery import unknown
from app.engine.delivery.apply import refusal
from app.engine.delivery.bisect import ROUTE
from app.engine.domain import Wiring
from app.engine.inspect.explain import explain_event
from app.engine.inspect.live_check import check
from app.engine.queue.publish import publish
from app.settings import using
from events import KINDS
from tests.helpers import toy
from tests.helpers.queued import queued, unreadable
from tests.helpers.support import drain, drain_all, scalar, waiting
from tests.helpers.toy import say, want

_DUE = "UPDATE engine.delayed SET due_at = '-infinity'"
_DELAY = "SELECT extract(epoch FROM due_at - now())::float FROM engine.delayed"
_AGE = """
UPDATE engine.delayed SET due_at = '-infinity', args = args || jsonb_build_object(
    'since', (args->>'since')::timestamptz - %s * interval '1 second')
"""


@contextmanager
def old(*names: str) -> Iterator[None]:
    """Run a program that does not know these types."""
    taken = {name: KINDS.pop(name) for name in names}
    try:
        yield
    finally:
        KINDS.update(taken)


def dead(connection: Connection) -> list[Any]:
    """Return the error classes of the dead letters."""
    return connection.execute("SELECT error_class FROM engine.failed_jobs").fetchall()


def test_an_unknown_type_waits_for_a_worker_that_knows_it(connection: Connection, outside: toy.Outside) -> None:
    """The other events of its batch are applied. It spends no attempt, and a new worker applies it."""
    new = say("x").follow(toy.Echo(word="new"), toy.NOW)
    with connection.transaction():
        publish(connection, new, say("known"))
    with old("toy/echo.heard"):
        drain()
        assert scalar(connection, "SELECT array_agg(word) FROM toy.heard") == ["known"]
        args = scalar(connection, "SELECT args FROM engine.delayed")
        assert (args["attempt"], args["events"]) == (0, [json.loads(new.json_bytes())])
        assert [reason.kind for reason in explain_event(connection, new.id)][-1] == "unknown_here"
    connection.execute(_DUE)
    drain()
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 2
    assert (dead(connection), waiting(connection)) == ([], 0)


def test_a_newer_version_waits_too(connection: Connection, outside: toy.Outside) -> None:
    """A new producer published it for an old worker."""
    raw = {**json.loads(say("newer").json_bytes()), "dataschema": "toy/word.said/2"}
    row = {"queue": "events", "task": "consume", "priority": 10, "delay": 0, "args": raw}
    connection.execute("SELECT engine.enqueue(%s)", [Jsonb([row])])
    drain()
    assert (dead(connection), waiting(connection)) == ([], 1)
    assert "version 2" in scalar(connection, "SELECT args->>'error' FROM engine.delayed")


def test_the_wait_is_counted_from_the_first_delivery_and_ends(connection: Connection, outside: toy.Outside) -> None:
    """The delay grows up to half a minute. After `unknown_patience` the event is buried."""
    event = say("never")
    publish(connection, event)
    with old("toy/word.said"), using(unknown_patience=600):
        drain()
        assert 0 < scalar(connection, _DELAY) < 1.5
        since = scalar(connection, "SELECT args->>'since' FROM engine.delayed")
        connection.execute(_DUE)
        drain()
        assert scalar(connection, "SELECT args->>'since' FROM engine.delayed") == since
        connection.execute(_AGE, [20])
        drain()
        assert 7 < scalar(connection, _DELAY) < 14
        connection.execute(_AGE, [500])
        drain()
        assert 20 < scalar(connection, _DELAY) < 38
        connection.execute(_AGE, [100])
        drain()
    assert (dead(connection), waiting(connection)) == ([("InvalidEvent",)], 0)
    assert scalar(connection, "SELECT event_data FROM engine.failed_jobs") == json.loads(event.json_bytes())
    assert scalar(connection, "SELECT retry_count FROM engine.failed_jobs") == 1


def test_an_unknown_effect_waits_in_its_queue(connection: Connection, outside: toy.Outside) -> None:
    """A worker of effects puts it back there, not in the queue of handlers."""
    publish(connection, want("a"), want("b"))
    with old("toy/call.wanted"):
        drain()
    found = connection.execute("SELECT queue_name, task_name, jsonb_array_length(args->'events') FROM engine.delayed")
    assert found.fetchall() == [("toys", "perform", 2)]
    connection.execute(_DUE)
    drain()
    assert sorted(word for word, _ in outside.calls) == ["a", "b"]
    assert dead(connection) == []


@pytest.mark.parametrize("patience", [600, 0])
def test_a_type_without_a_handler_here_waits_too(connection: Connection, outside: toy.Outside, patience: float) -> None:
    """The program knows the type as an effect, or does not serve it. Without patience it is buried at once."""
    publish(connection, say("w"), say("x").follow(toy.Echo(word="e"), toy.NOW))
    with domain.use(Wiring(handlers={toy.Said: toy.hear}, effects={})), using(unknown_patience=patience):
        drain()
    assert (len(dead(connection)), waiting(connection)) == ((0, 1) if patience else (1, 0))
    if patience:
        drain_all(connection)
        assert scalar(connection, "SELECT count(*) FROM toy.heard") == 2


def test_a_rescued_batch_of_unknown_events_waits(connection: Connection, outside: toy.Outside) -> None:
    """Also if the batch is split because its worker crashed."""
    publish(connection, say("x").follow(toy.Echo(word="new"), toy.NOW), say("known"))
    connection.execute("UPDATE public.procrastinate_jobs SET attempts = 1")
    with old("toy/echo.heard"):
        drain()
    assert (dead(connection), waiting(connection)) == ([], 1)


def test_the_check_before_a_deployment_reports_waiting_events(connection: Connection, outside: toy.Outside) -> None:
    """An unknown type is a finding, not a dead letter."""
    publish(connection, say("later"))
    with old("toy/word.said"):
        (finding,) = check(connection).findings
    assert "waits for a worker that knows it" in finding.why


def test_only_unknown_events_are_taken_out(connection: Connection, outside: toy.Outside) -> None:
    """Known events are returned in their order; an event that cannot be parsed is buried at once."""
    first, last = queued(say("first")), queued(say("last"))
    refused, broken = queued(want("refused")), unreadable(say("broken"))
    with connection.transaction():
        left = unknown.take_out(connection, [first, refused, broken, last], refusal, lambda: ROUTE)
    assert left == [first, last]
    assert dead(connection) == [("InvalidEvent",)]
    error = scalar(connection, "SELECT args->>'error' FROM engine.delayed")
    assert (unknown.is_unknown(error), "is an effect" in error) == (True, True)
    assert not unknown.is_unknown("RowLocked: x")
    known = [first, last]
    assert unknown.take_out(connection, known, refusal, lambda: ROUTE) is known
