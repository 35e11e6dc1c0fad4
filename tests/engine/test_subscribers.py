"""Subscribers: each gets every applied event once, and fails apart from the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

import events
from app.context import Connection, HandlerContext
from app.engine import domain, event_types
from app.engine.dead_letters import letters, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.engine.domain import Wiring
from app.engine.merge import merged
from app.engine.queue.publish import publish
from app.engine.subscribers import subscriber
from app.errors import Permanent, SetupError
from app.settings import using
from app.testing.crashes import crash_everywhere
from events import KINDS, SIZE_LIMIT, Event, InvalidEvent, contracts
from events.subscriptions import copy_for
from tests.conftest import Database
from tests.helpers import sequences, toy
from tests.helpers.sequences import Step, StepFaults
from tests.helpers.support import drain, drain_all, scalar, waiting, working
from tests.helpers.toy import Said, Wanted, say, want

LEFT = "left/notes:toy/word.said"
RIGHT = "right/notes:toy/word.said"


@dataclass
class Listener:
    """The handler of a subscriber. It records its events, and fails for the words in `deaf_to`."""

    name: str
    deaf_to: set[str] = field(default_factory=set)
    given: list[Event[Any]] = field(default_factory=list)

    def hear(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Any]]:
        """Insert the words into the table."""
        for event in said:
            if event.data.word in self.deaf_to:
                raise Permanent(f"{self.name} is deaf to {event.data.word}")
            toy.note(context, event.id, f"{self.name} {event.data.word}")
            self.given.append(event)
        return ()

    def wiring(self) -> Wiring:
        """Return the subscriber's wiring."""
        return subscriber(f"{self.name}/notes", handlers={Said: self.hear})


@pytest.fixture
def left() -> Listener:
    """A subscriber."""
    return Listener("left")


@pytest.fixture
def right() -> Listener:
    """Another subscriber."""
    return Listener("right")


@pytest.fixture
def wiring(outside: toy.Outside, left: Listener, right: Listener) -> Iterator[Wiring]:
    """The toy domain's wiring with two subscribers to words."""
    made = together([outside.wiring(), left.wiring(), right.wiring()])
    with domain.use(made):
        yield made


def together(wirings: Iterable[Wiring]) -> Wiring:
    """Return the wiring of a domain with several parts."""
    return merged(("toys", one) for one in wirings)


def heard(connection: Connection) -> list[str]:
    """Return the applied words with the name of their subscriber, in alphabetical order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def dead(connection: Connection) -> list[str]:
    """Return the types of the open dead letters."""
    found = connection.execute("SELECT job_type FROM engine.failed_jobs WHERE resolved_at IS NULL ORDER BY job_type")
    return [name for (name,) in found]


def test_a_failing_subscriber_has_its_own_letter(
    database: Database, connection: Connection, wiring: Wiring, right: Listener
) -> None:
    """The owner and the other subscriber apply the event once. A replay of the letter concerns only its subscriber."""
    right.deaf_to = {"a"}
    publish(connection, say("a"), say("b"))
    drain_all(connection)
    assert heard(connection) == ["a", "b", "left a", "left b", "right b"]
    assert dead(connection) == [RIGHT]
    right.deaf_to = set()
    plan = plans.make(connection, Filters(type=RIGHT), actor="ana")
    with working(database.url):
        done = replay.run(connection, plan, Pace(), actor="ana", reason="mended", show=lambda _: None)
    assert done.outcomes["applied"] == 1
    assert heard(connection) == ["a", "b", "left a", "left b", "right a", "right b"]
    assert (dead(connection), waiting(connection)) == ([], 0)
    assert [one.resolved_at is None for one in letters.select(connection, Filters(resolved=None))] == [False]


def test_subscribers_get_applied_events_only(connection: Connection, wiring: Wiring) -> None:
    """If the owner's handler fails, no copy is published."""
    publish(connection, say("no", "bad"), say("yes"))
    drain_all(connection)
    assert heard(connection) == ["left yes", "right yes", "yes"]
    assert dead(connection) == ["toy/word.said"]


def test_a_repeated_event_is_copied_once(
    connection: Connection, wiring: Wiring, left: Listener, right: Listener
) -> None:
    """Neither the event nor a subscriber's copy is applied a second time."""
    event = say("a")
    publish(connection, event)
    drain_all(connection)
    publish(connection, event)
    publish(connection, *left.given, *right.given)
    drain_all(connection)
    assert heard(connection) == ["a", "left a", "right a"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log") == 3


def test_a_copy_has_the_data_and_attributes_of_its_event(
    connection: Connection, wiring: Wiring, left: Listener, right: Listener
) -> None:
    """Except type and id, which are derived. The event is the copy's cause."""
    plain = events.new(Said(word="a", echoes=0), now=toy.NOW, subject=uuid4(), tenant=uuid4())
    event = events.parse({**json.loads(plain.json_bytes()), "partner": "ours"})
    publish(connection, event)
    drain_all(connection)
    (mine,), (other,) = left.given, right.given
    assert isinstance(mine.data, Said)
    assert (mine.type, mine.dataschema, mine.causationid) == (LEFT, f"{LEFT}/1", event.id)
    assert len({event.id, mine.id, other.id}) == 3
    assert [copy_for(type(mine.data), event), copy_for(type(other.data), event)] == [mine, other]
    same = ("source", "subject", "tenantid", "time", "model_extra")
    assert [getattr(mine, name) for name in same] == [getattr(event, name) for name in same]
    assert mine.data.model_dump() == event.data.model_dump()
    assert json.loads(mine.json_bytes())["data"] == json.loads(event.json_bytes())["data"]


def test_a_crash_at_any_statement_copies_each_event_once(database: Database, wiring: Wiring) -> None:
    """The copies are published in the commit that applies the event."""
    report = crash_everywhere(database, wiring, [say("a"), say("b", echoes=1)])
    assert report.cases > 10


def test_a_subscriber_gets_the_events_that_it_wants(connection: Connection, outside: toy.Outside) -> None:
    """Its interest is asked once a delivery. Other subscribers get every event."""
    left, right, asked = Listener("left"), Listener("right"), list[int]()

    def interest(_connection: Connection, said: Sequence[Event[Any]]) -> set[UUID]:
        asked.append(len(said))
        return {event.id for event in said if event.data.word == "b"}

    picky = subscriber("left/notes", handlers={Said: left.hear}, interest=interest)
    with domain.use(together([outside.wiring(), picky, right.wiring()])):
        publish(connection, say("a"), say("b"), say("c"))
        drain_all(connection)
    assert heard(connection) == ["a", "b", "c", "left b", "right a", "right b", "right c"]
    assert asked == [3]


def test_an_effect_can_subscribe(connection: Connection, outside: toy.Outside) -> None:
    """Its copies are called once each, with retries and results like any effect's events."""
    effect = outside.wiring().effects[Wanted]
    notify = replace(effect, queue="hooks", limits=None)
    with domain.use(together([outside.wiring(), subscriber("hooks/out", effects={Said: notify})])):
        publish(connection, say("a", "once"), say("b"), want("c"))
        drain_all(connection)
    assert sorted(word for word, _ in outside.calls) == ["a", "a", "b", "c"]
    assert heard(connection) == ["a", "a: asked", "b", "b: made", "c: made"]


def test_copies_wait_for_a_program_that_knows_the_subscriber(
    database: Database, connection: Connection, outside: toy.Outside, wiring: Wiring
) -> None:
    """An old worker of a rolling deployment leaves them waiting. A new worker applies them."""
    publish(connection, say("a"))
    with sequences.engine(database) as worker:
        sequences.deliver(worker, connection)
    types = {name: KINDS.pop(name) for name in (LEFT, RIGHT)}
    try:
        with domain.use(outside.wiring()):
            drain()
    finally:
        KINDS.update(types)
    assert (heard(connection), dead(connection), waiting(connection)) == (["a"], [], 1)
    drain_all(connection)
    assert heard(connection) == ["a", "left a", "right a"]


def test_copies_for_a_removed_subscriber_are_buried(
    connection: Connection, outside: toy.Outside, wiring: Wiring, left: Listener, right: Listener
) -> None:
    """After `unknown_patience`, like any unknown type."""
    right.deaf_to = {"a"}
    publish(connection, say("a"))
    drain_all(connection)
    right.deaf_to = set()
    publish(connection, *(events.parse(one.event_data) for one in letters.select(connection, Filters())))
    with domain.use(together([outside.wiring(), left.wiring()])), using(unknown_patience=0):
        publish(connection, say("b"))
        drain_all(connection)
    assert heard(connection) == ["a", "b", "left a", "left b"]
    assert dead(connection) == [RIGHT]
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "InvalidEvent"


def test_a_subscriber_applies_sequenced_events_in_order(connection: Connection, step_faults: StepFaults) -> None:
    """A waiting copy delays neither the owner nor events without a subject."""
    path = uuid4()
    mine = StepFaults(shaky={1: 1}, broken={3})
    with domain.use(together([step_faults.wiring(), subscriber("trail/marks", handlers={Step: mine.walk})])):
        publish(connection, *(sequences.step(path, n) for n in range(5)))
        _drain_until_held(connection)
    steps = connection.execute("SELECT word FROM toy.heard ORDER BY id").fetchall()
    marks = [int(word.rpartition(":")[2]) for (word,) in steps]
    assert sorted(marks) == [0, 0, 1, 1, 2, 2, 3, 4]
    assert sequences.held(connection) == 1
    assert dead(connection) == ["trail/marks:toy/step.taken"]


def _drain_until_held(connection: Connection) -> None:
    for _ in range(4):
        drain()
        connection.execute("UPDATE engine.delayed SET due_at = now()")


def test_the_largest_event_has_room_for_a_subscriber(connection: Connection, wiring: Wiring) -> None:
    """The longer attributes of its copy do not exceed the size limit."""
    size = SIZE_LIMIT - len(say("").json_bytes())
    publish(connection, say("x" * size))
    with pytest.raises(InvalidEvent, match="at most"):
        publish(connection, say("x" * (size + 1)))
    drain_all(connection)
    assert (len(heard(connection)), dead(connection)) == (3, [])


def nothing(_context: HandlerContext, _events: list[Event[Any]]) -> Iterable[Event[Any]]:
    """Do nothing."""
    return ()


def test_a_subscriber_is_checked_when_the_program_starts(outside: toy.Outside) -> None:
    """A repeated or bad name, or a type without an owner, is an error with a remedy."""
    toys = outside.wiring()
    one, two = subscriber("a/b", handlers={Said: nothing}), subscriber("a/b", handlers={toy.Echo: nothing})
    with pytest.raises(SetupError, match="subscriber 'a/b' is claimed twice: by toys; rename one"):
        together([toys, one, two])
    with pytest.raises(SetupError, match="subscriber 'a/b' is claimed twice: by one and by two; rename one"):
        merged([("toys", toys), ("one", one), ("two", two)])
    with pytest.raises(SetupError, match=r"event type 'toy/.*' is claimed twice: by one and by two; an event type has"):
        merged([("one", toys), ("two", toys)])
    with pytest.raises(SetupError, match=r"a/b: toy/call\.wanted has no handler"):
        together([toys, subscriber("a/b", handlers={Wanted: nothing})])
    with pytest.raises(SetupError, match=r"'Notes'.*domain/name"):
        subscriber("Notes", handlers={Said: nothing})
    with pytest.raises(SetupError, match=r"toy/word\.said has a handler and an effect"):
        subscriber("a/b", handlers={Said: nothing}, effects={Said: toys.effects[Wanted]})
    with pytest.raises(SetupError, match="no event type"):
        subscriber("a/b")


def test_the_contract_lists_subscribers_and_no_producer_publishes_to_one(wiring: Wiring) -> None:
    """AsyncAPI lists the copies; the table of event types for producers does not."""
    document = contracts.asyncapi(wiring.served(), version="1")
    said = {key: one["summary"] for key, one in document["operations"].items() if "left_notes" in key}
    assert said == {
        "handle_left_notes_toy_word_said": (
            "toy/word.said is given to the subscriber left/notes, and applied once, in order of arrival."
        )
    }
    assert [one.type for one in event_types.declared() if ":" in one.type] == []
