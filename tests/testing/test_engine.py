"""The engine's own paths: wherever the worker crashes, the end is that of an undisturbed run."""

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
    """Some events and their outcome."""

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
    """Return three steps on one path."""
    (path,) = paths(1)
    return [step(path, n) for n in range(3)]


@pytest.mark.parametrize(("broken", "dead"), [(set(), 0), ({1}, 1)], ids=["firm", "broken"])
def test_events_in_order(database: Database, broken: set[int], dead: int) -> None:
    """Held events are released in turn, or wait behind a dead one."""
    crash_everywhere(database, StepFaults(broken=broken).wiring(), in_order(), dead=dead)


def test_calls_of_a_batch(database: Database) -> None:
    """Each word is sent once, concurrently."""
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
    """A call that fails, or that is obsolete."""
    outside.stale = {"stale"}
    crash_everywhere(database, outside.wiring(), [word], ignore=["toy.heard.word"], **options)


def test_the_final_result_of_a_failed_call_is_published_once(database: Database, outside: Outside) -> None:
    """The effect's own result after the last attempt."""
    crash_everywhere(database, outside.wiring(give_up=True), [want("a", "never")], policy=ONE_ATTEMPT)


def test_an_event_with_the_id_of_a_dead_letter(database: Database, connection: Connection, outside: Outside) -> None:
    """The letter stays open, the other event becomes one letter, and the rest of its batch is applied."""
    first = say("a", "bad")
    publish(connection, first)
    deliver(connection)
    other = first.model_copy(update={"data": Said(word="b")})
    crash_everywhere(database, outside.wiring(), [other, say("c")], dead=2)
