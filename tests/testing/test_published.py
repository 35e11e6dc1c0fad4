"""assert_published finds an event in any state, and reports what it found instead."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.engine.domain import use
from app.engine.queue.publish import publish
from app.testing.drain import drain, drain_all
from app.testing.published import assert_published
from tests.helpers.sequences import StepFaults, paths, step
from tests.helpers.toy import Echo, Said, Wanted, say, want

pytestmark = pytest.mark.usefixtures("outside")


def test_a_waiting_event_is_found(connection: Connection) -> None:
    """Alone or in a batch, for a handler or an effect."""
    publish(connection, say("a"))
    publish(connection, say("b"), say("c", "later"), want("d"), want("e"))
    assert [one.data.word for one in assert_published(connection, Said)] == ["a", "b", "c"]
    (late,) = assert_published(connection, Said, count=1, mood="later")
    assert (late.place, late.data) == ("waiting", Said(word="c", mood="later"))
    assert_published(connection, Wanted, count=2)
    assert_published(connection, Wanted, count=0, word="a")


def test_applied_and_dead_events_are_found(connection: Connection) -> None:
    """Also the events that followed from an applied one."""
    publish(connection, said := say("a", echoes=2), say("b", "bad"))
    drain_all(connection)
    assert {(one.data.word, one.place) for one in assert_published(connection, Said)} == {
        ("a", "applied"),
        ("b", "dead"),
    }
    echoes = assert_published(connection, Echo, count=2, word="a")
    assert {one.causation_id for one in echoes} == {said.id}


def test_a_held_event_is_found(connection: Connection) -> None:
    """It has left the queue until its turn."""
    step_faults = StepFaults()
    (path,) = paths(1)
    with use(step_faults.wiring()):
        publish(connection, step(path, 0), delay=60)
        publish(connection, step(path, 1))
        drain(queues=["events"])
        steps = assert_published(connection, type(step(path, 0).data), count=2)
    assert {one.place for one in steps} == {"waiting"}


def test_an_event_that_is_there_twice_counts_once(connection: Connection) -> None:
    """A redelivered event is one event."""
    publish(connection, said := say("a"))
    drain(queues=["events"])
    publish(connection, said)
    assert_published(connection, Said, count=1)


def test_a_failure_names_what_was_published(connection: Connection) -> None:
    """The same type with other fields, and the number of other types."""
    publish(connection, say("a"), want("b"), want("c"))
    with pytest.raises(AssertionError) as caught:
        assert_published(connection, Said, count=1, word="z")
    assert str(caught.value) == (
        "toy/word.said, word='z': 1 expected, 0 published\n"
        "published instead:\n"
        "  waiting: Said(word='a', mood='fine', echoes=0)\n"
        "  toy/call.wanted: 2 waiting"
    )
    with pytest.raises(AssertionError, match=r"toy/echo\.heard: at least one expected, 0 published"):
        assert_published(connection, Echo)


def test_an_empty_queue_is_reported(connection: Connection) -> None:
    """A field that the payload lacks is an error of the test."""
    with pytest.raises(AssertionError, match="nothing was published"):
        assert_published(connection, Said)
    with pytest.raises(TypeError, match=r"toy/word\.said has no field wrd"):
        assert_published(connection, Said, wrd="a")


def test_draining_gives_up(connection: Connection) -> None:
    """A row that never becomes due does not block it."""
    publish(connection, say("a"))
    connection.execute("UPDATE public.procrastinate_jobs SET status = 'doing'")
    with pytest.raises(AssertionError, match="still waiting after 1 rounds: 1 rows"):
        drain_all(connection, rounds=1)
