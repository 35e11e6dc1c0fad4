"""Apply events in the caller's transaction: ledger, handlers, publication of the results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import pytest

from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.delivery.apply import apply, refusal
from app.engine.domain import Wiring
from app.errors import ReusedId
from app.testing.published import assert_published
from events import Event
from tests.helpers import sequences, toy
from tests.helpers.dead_letters import heard
from tests.helpers.queued import queued, unreadable
from tests.helpers.sequences import StepFaults
from tests.helpers.support import scalar
from tests.helpers.toy import Echo, Outside, Said, say, want


def test_only_events_that_are_not_in_the_ledger_are_applied(connection: Connection, outside: Outside) -> None:
    """The number of applied events is returned. A repeat, in the list or later, has no effect."""
    once, other = say("once"), say("other")
    with connection.transaction():
        assert apply(connection, [queued(once), queued(once)]) == 1
    with connection.transaction():
        assert apply(connection, [queued(other), queued(once)]) == 1
    assert heard(connection) == ["once", "other"]


def test_everything_is_in_the_callers_transaction(connection: Connection, outside: Outside) -> None:
    """If it is rolled back, neither the ledger, nor the handler's rows, nor the published events exist."""
    with connection.transaction(force_rollback=True):
        apply(connection, [queued(say("word", echoes=1))])
    assert heard(connection) == []
    assert scalar(connection, "SELECT count(*) FROM engine.event_log") == 0
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
    with connection.transaction():
        apply(connection, [queued(say("word", echoes=1))])
    assert_published(connection, Echo, count=1, word="word")


def test_handlers_run_by_type_in_alphabetical_order(connection: Connection, outside: Outside) -> None:
    """Each gets its events as one list. The rows that several types need are locked first."""
    calls: list[object] = []

    def handler(_context: HandlerContext, events: list[Event[Any]]) -> Iterable[Event[Any]]:
        calls.append([event.data.word for event in events])
        return ()

    def lock(_connection: Connection, events: Sequence[Event[Any]]) -> None:
        calls.append(len(events))

    words = [say("b"), say("x").follow(Echo(word="echo"), toy.NOW), say("a")]
    wiring = Wiring(handlers={Said: handler, Echo: handler}, effects={}, locks=[lock])
    with domain.use(wiring), connection.transaction():
        apply(connection, [queued(event) for event in words])
        apply(connection, [queued(say("alone"))])
    assert calls == [3, ["echo"], ["b", "a"], ["alone"]]


def test_an_event_with_the_id_of_another_event_is_buried(connection: Connection, outside: Outside) -> None:
    """The others are applied."""
    event = say("first")
    other = event.model_copy(update={"data": Said(word="second")})
    with connection.transaction():
        assert apply(connection, [queued(event), queued(other), queued(say("third"))]) == 2
    assert heard(connection) == ["first", "third"]
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "ReusedId"


def test_an_unreadable_event_is_buried_and_an_unknown_one_waits(connection: Connection, outside: Outside) -> None:
    """So does an effect's event, for which this task has no handler."""
    with connection.transaction():
        assert apply(connection, [unreadable(say("broken")), queued(want("effect")), queued(say("word"))]) == 1
    assert heard(connection) == ["word"]
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "InvalidEvent"
    assert scalar(connection, "SELECT args->'events'->0->>'type' FROM engine.delayed") == "toy/call.wanted"


def test_a_sequenced_event_that_is_not_next_is_held(connection: Connection, step_faults: StepFaults) -> None:
    """It is applied after its predecessor."""
    path = uuid4()
    first, second = sequences.step(path, 1), sequences.step(path, 2)
    connection.execute(
        "INSERT INTO engine.sequence (type, subject_id, event_id) VALUES (%s, %s, %s), (%s, %s, %s)",
        [first.type, path, first.id, second.type, path, second.id],
    )
    with connection.transaction():
        assert apply(connection, [queued(second)]) == 0
    assert (sequences.taken(connection, path), sequences.held(connection)) == ([], 1)
    with connection.transaction():
        assert apply(connection, [queued(first), queued(second)]) == 2
    assert (sequences.taken(connection, path), sequences.held(connection)) == ([1, 2], 0)


def test_two_results_with_one_id_are_an_error(connection: Connection, outside: Outside) -> None:
    """Also if two handlers publish them. Nothing is applied."""
    one = uuid4()

    def handler(context: HandlerContext, events: list[Event[Any]]) -> Iterable[Event[Any]]:
        return [event.follow(Echo(word=event.data.word), context.now, event_id=one) for event in events]

    wiring = Wiring(handlers={Said: handler, Echo: handler}, effects={})
    words = [queued(say("a")), queued(say("x").follow(Echo(word="b"), toy.NOW))]
    with domain.use(wiring), pytest.raises(ReusedId), connection.transaction():
        apply(connection, words)
    assert scalar(connection, "SELECT count(*) FROM engine.event_log") == 0


def test_a_refusal_says_what_serves_the_type(outside: Outside) -> None:
    """None for an event with a handler."""
    assert refusal(say("word")) is None
    assert refusal(want("word")) == "type: toy/call.wanted is an effect, it has no handler in this program"
    with domain.use(Wiring({}, {})):
        assert "has no handler or effect" in str(refusal(say("word")))
