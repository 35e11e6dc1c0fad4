"""assert_published finds an event wherever it has come to, and says what it found instead."""

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


def test_what_waits(connection: Connection) -> None:
    """Alone or in a batch, for a handler or an effect."""
    publish(connection, say("a"))
    publish(connection, say("b"), say("c", "later"), want("d"), want("e"))
    assert [one.data.word for one in assert_published(connection, Said)] == ["a", "b", "c"]
    (late,) = assert_published(connection, Said, count=1, mood="later")
    assert (late.place, late.data) == ("waiting", Said(word="c", mood="later"))
    assert_published(connection, Wanted, count=2)
    assert_published(connection, Wanted, count=0, word="a")


def test_what_was_applied_what_follows_from_it_and_what_died(connection: Connection) -> None:
    """Wherever an event has come to, it was published."""
    publish(connection, said := say("a", echoes=2), say("b", "bad"))
    drain_all(connection)
    assert {(one.data.word, one.place) for one in assert_published(connection, Said)} == {
        ("a", "applied"),
        ("b", "dead"),
    }
    echoes = assert_published(connection, Echo, count=2, word="a")
    assert {one.causation_id for one in echoes} == {said.id}


def test_what_is_held(connection: Connection) -> None:
    """An event that has left the queue because it is not its turn waits too."""
    step_faults = StepFaults()
    (path,) = paths(1)
    with use(step_faults.wiring()):
        publish(connection, step(path, 0), delay=60)
        publish(connection, step(path, 1))
        drain(queues=["events"])
        steps = assert_published(connection, type(step(path, 0).data), count=2)
    assert {one.place for one in steps} == {"waiting"}


def test_an_event_that_is_there_twice_counts_once(connection: Connection) -> None:
    """Delivered again, it is still one event."""
    publish(connection, said := say("a"))
    drain(queues=["events"])
    publish(connection, said)
    assert_published(connection, Said, count=1)


def test_it_says_what_was_published_instead(connection: Connection) -> None:
    """The same type with other fields, and how many of other types."""
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


def test_nothing_at_all(connection: Connection) -> None:
    """An empty queue is said to be one, and a field that the payload has not is an error of the test."""
    with pytest.raises(AssertionError, match="nothing was published"):
        assert_published(connection, Said)
    with pytest.raises(TypeError, match=r"toy/word\.said has no field wrd"):
        assert_published(connection, Said, wrd="a")


def test_draining_gives_up(connection: Connection) -> None:
    """A row that never comes back is no reason to wait for ever."""
    publish(connection, say("a"))
    connection.execute("UPDATE public.procrastinate_jobs SET status = 'doing'")
    with pytest.raises(AssertionError, match="still waiting after 1 rounds: 1 rows"):
        drain_all(connection, rounds=1)
