"""Unknown: what this program does not know waits for a worker that does, and is dead only after its patience."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from app.context import Connection
from app.engine import domain
from app.engine.domain import Wiring
from app.engine.inspect.explain import explain_event
from app.engine.inspect.live_check import check
from app.engine.queue.publish import publish
from app.settings import using
from events import KINDS
from tests.helpers import toy
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
    """A program of before these types were declared."""
    taken = {name: KINDS.pop(name) for name in names}
    try:
        yield
    finally:
        KINDS.update(taken)


def dead(connection: Connection) -> list[Any]:
    """The error classes of the dead letters."""
    return connection.execute("SELECT error_class FROM engine.failed_jobs").fetchall()


def test_an_unknown_type_waits_for_a_worker_that_knows_it(connection: Connection, outside: toy.Outside) -> None:
    """The others of its batch are applied; it spends no attempt, and a new worker applies it."""
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
    """An old worker meets the version of a new producer."""
    raw = {**json.loads(say("newer").json_bytes()), "dataschema": "toy/word.said/2"}
    row = {"queue": "events", "task": "consume", "priority": 10, "delay": 0, "args": raw}
    connection.execute("SELECT engine.enqueue(%s)", [Jsonb([row])])
    drain()
    assert (dead(connection), waiting(connection)) == ([], 1)
    assert "version 2" in scalar(connection, "SELECT args->>'error' FROM engine.delayed")


def test_the_wait_is_counted_from_the_first_delivery_and_ends(connection: Connection, outside: toy.Outside) -> None:
    """The delay grows with the wait up to half a minute; after the patience it is a dead letter, as published."""
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
    """A worker of effects puts it back where it was: no worker of handlers gets it."""
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
    """The old program knows the type, as an effect or as nothing; without patience it is dead at once."""
    publish(connection, say("w"), say("x").follow(toy.Echo(word="e"), toy.NOW))
    with domain.use(Wiring(handlers={toy.Said: toy.hear}, effects={})), using(unknown_patience=patience):
        drain()
    assert (len(dead(connection)), waiting(connection)) == ((0, 1) if patience else (1, 0))
    if patience:
        drain_all(connection)
        assert scalar(connection, "SELECT count(*) FROM toy.heard") == 2


def test_a_rescued_batch_of_unknown_events_waits(connection: Connection, outside: toy.Outside) -> None:
    """Also where the batch is unpacked because its worker died."""
    publish(connection, say("x").follow(toy.Echo(word="new"), toy.NOW), say("known"))
    connection.execute("UPDATE public.procrastinate_jobs SET attempts = 1")
    with old("toy/echo.heard"):
        drain()
    assert (dead(connection), waiting(connection)) == ([], 1)


def test_the_check_before_a_deployment_says_that_it_waits(connection: Connection, outside: toy.Outside) -> None:
    """Unknown here is a finding, and not yet a dead letter."""
    publish(connection, say("later"))
    with old("toy/word.said"):
        (finding,) = check(connection).findings
    assert "waits for a worker that knows it" in finding.why
