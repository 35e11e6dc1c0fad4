"""Timeline: all events of a job in any state, in the order of publication."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

import events
from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.inspect.timeline import timeline
from app.engine.queue.publish import publish
from app.errors import NotFound
from tests.helpers import toy
from tests.helpers.sequences import StepFaults, deliver_all, fetch, paths, step


def test_events_of_every_state_are_listed(connection: Connection, step_faults: StepFaults, worker: Engine) -> None:
    """Applied, dead, held, waiting, in delivery, put back. Events of other subjects are left out."""
    path, other = paths(2)
    step_faults.broken = {1}
    publish(connection, *[step(path, n) for n in range(3)], step(other, 0))
    deliver_all(worker, connection)
    later = events.new(toy.Said(word="w", mood="later"), now=toy.NOW + timedelta(seconds=5), subject=path, tenant=None)
    publish(connection, later)
    deliver_all(worker, connection)
    publish(
        connection,
        toy.say("other"),
        *[
            events.new(toy.Said(word=word), now=toy.NOW + timedelta(seconds=9), subject=path, tenant=None)
            for word in "ab"
        ],
    )
    fetch(connection)
    publish(connection, events.new(toy.Said(word="c"), now=toy.NOW + timedelta(seconds=10), subject=path, tenant=None))
    found = [(entry.type, entry.state, (entry.data or {}).get("n")) for entry in timeline(connection, path)]
    assert sorted(found[:3], key=str) == [
        ("toy/step.taken", "applied", 0),
        ("toy/step.taken", "dead", 1),
        ("toy/step.taken", "held", 2),
    ]
    assert [state for _, state, _ in found[3:]] == ["waiting", "in_hand", "in_hand", "waiting"]
    put_back = next(entry for entry in timeline(connection, path) if entry.event_id == later.id)
    assert put_back.why == "Transient: not now"
    assert put_back.attempt == 1
    assert put_back.at is not None
    (dead,) = [entry for entry in timeline(connection, path) if entry.state == "dead"]
    assert dead.why == "Permanent: no ground at 1"


def test_events_are_listed_under_their_causes(connection: Connection, outside: toy.Outside, worker: Engine) -> None:
    """The depth counts causes with the same subject."""
    job = uuid4()
    first = events.new(toy.Said(word="hi", echoes=2), now=toy.NOW, subject=job, tenant=None)
    publish(connection, first)
    deliver_all(worker, connection)
    found = timeline(connection, job)
    assert [(entry.type, entry.depth, entry.caused_by) for entry in found] == [
        ("toy/word.said", 0, None),
        ("toy/echo.heard", 1, first.id),
        ("toy/echo.heard", 1, first.id),
    ]


def test_a_cause_that_is_about_something_else_does_not_count(connection: Connection, outside: toy.Outside) -> None:
    """It is named, and the event has depth zero."""
    job = uuid4()
    cause = toy.say("elsewhere")
    publish(connection, cause.follow(toy.Echo(word="here"), toy.NOW, subject=job))
    (entry,) = timeline(connection, job)
    assert (entry.caused_by, entry.depth) == (cause.id, 0)


def test_unreadable_letters_are_listed(connection: Connection, outside: toy.Outside) -> None:
    """Neither they nor a circle of causes is an error."""
    job, one, two = uuid4(), uuid4(), uuid4()
    letters = [
        {"subject": str(job), "id": "17", "time": "yesterday", "causationid": 3, "type": None},
        {"subject": str(job), "id": str(one), "causationid": str(two), "time": "2026-01-01T00:00:00Z"},
        {"subject": str(job), "id": str(two), "causationid": str(one), "time": "2026-01-01T00:00:01Z"},
    ]
    for letter in letters:
        connection.execute(
            "INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, resolved_at)"
            " VALUES ('x', %s, 'no', 1, now())",
            [Jsonb(letter)],
        )
    found = timeline(connection, job)
    assert [(entry.event_id, entry.state) for entry in found] == [
        (one, "resolved"),
        (two, "resolved"),
        (None, "resolved"),
    ]


def test_an_unknown_job_is_not_found(connection: Connection) -> None:
    """The id may be mistyped."""
    with pytest.raises(NotFound, match="no event is about"):
        timeline(connection, uuid4())
