"""The engine's own ways with events: wherever the worker dies on them, the end is that of an undisturbed run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.context import Connection
from app.engine.domain import Policy
from app.engine.queue.publish import publish
from app.testing.crashes import crash_everywhere
from app.testing.deliver import deliver
from events import Event
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.sequences import StepFaults, paths, step
from tests.helpers.toy import Echo, Outside, Said, say, want
from tests.helpers.wrong_handlers import Telegraph

pytestmark = pytest.mark.usefixtures("outside")

ONE_ATTEMPT, TWO_ATTEMPTS = Policy(most_attempts=1), Policy(most_attempts=2)


@dataclass(frozen=True, slots=True)
class Way:
    """Some events, and what becomes of them."""

    name: str
    events: list[Event[Any]]
    options: dict[str, Any] = field(default_factory=dict)


WAYS = (
    Way("a batch", [say("a"), say("b", echoes=2), say("c")]),
    Way("siblings", [say("a"), say("b", echoes=2), say("c")], {"batch_size": 1}),
    Way("two types at once", [say("a"), say("b").follow(Echo(word="b"), toy.NOW)]),
    Way("put back, and buried at last", [say("a"), say("b", "later")], {"policy": TWO_ATTEMPTS, "dead": 1}),
    Way("buried", [say("a", "bad")], {"dead": 1}),
    Way("the search in a batch", [say("a"), say("b", "bad"), say("c")], {"dead": 1}),
    Way("the search among siblings", [say("a"), say("b", "bad"), say("c")], {"dead": 1, "batch_size": 1}),
    Way("failing by name", [say("a"), say("b", "named"), say("c", echoes=1)], {"dead": 1}),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_events(database: Database, outside: Outside, way: Way) -> None:
    """Batches, siblings, putting back, burying, and bisecting."""
    crash_everywhere(database, outside.wiring(), way.events, **way.options)


def in_order() -> list[Event[Any]]:
    """Three steps on one path."""
    (path,) = paths(1)
    return [step(path, n) for n in range(3)]


@pytest.mark.parametrize(("broken", "dead"), [(set(), 0), ({1}, 1)], ids=["firm", "broken"])
def test_events_in_order(database: Database, broken: set[int], dead: int) -> None:
    """Held events are called when their turn has come, or wait behind a dead one."""
    crash_everywhere(database, StepFaults(broken=broken).wiring(), in_order(), dead=dead)


def test_calls_of_a_batch(database: Database) -> None:
    """Each word is sent once, side by side as they are."""
    telegraph = Telegraph()
    words = [want("a"), want("b"), want("c")]
    crash_everywhere(database, telegraph.effect(), words, arrange=telegraph.sent.clear, observe=telegraph.observe)


@pytest.mark.parametrize(
    ("word", "options"),
    [
        (want("a", "once"), {}),
        (want("a", "never"), {"policy": ONE_ATTEMPT, "dead": 1}),
        (want("a", "bad"), {"dead": 1}),
        (want("stale"), {}),
    ],
    ids=["put back", "given up", "forbidden", "overtaken"],
)
def test_calls(database: Database, outside: Outside, word: Event[Any], options: dict[str, Any]) -> None:
    """What comes of a call that fails, or that nobody wants any more."""
    outside.stale = {"stale"}
    crash_everywhere(database, outside.wiring(), [word], ignore=["toy.heard.word"], **options)


def test_a_call_that_is_given_up_in_words(database: Database, outside: Outside) -> None:
    """What the effect says in the end is said once."""
    crash_everywhere(database, outside.wiring(give_up=True), [want("a", "never")], policy=ONE_ATTEMPT)


def test_an_event_with_the_id_of_a_dead_letter(database: Database, connection: Connection, outside: Outside) -> None:
    """The letter stays open, the other event is one letter, and its neighbour is applied."""
    first = say("a", "bad")
    publish(connection, first)
    deliver(connection)
    other = first.model_copy(update={"data": Said(word="b")})
    crash_everywhere(database, outside.wiring(), [other, say("c")], dead=2)
