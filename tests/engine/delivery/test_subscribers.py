"""Subscribers: each is given every event that its owner applies, once, and fails apart from the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

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
    """A subscriber's handler: notes what it is given, but for words that it is deaf to."""

    name: str
    deaf_to: set[str] = field(default_factory=set)
    given: list[Event[Any]] = field(default_factory=list)

    def hear(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Any]]:
        """Note the words."""
        for event in said:
            if event.data.word in self.deaf_to:
                raise Permanent(f"{self.name} is deaf to {event.data.word}")
            toy.note(context, event.id, f"{self.name} {event.data.word}")
            self.given.append(event)
        return ()

    def wiring(self) -> Wiring:
        """The subscriber's wiring."""
        return subscriber(f"{self.name}/notes", handlers={Said: self.hear})


@pytest.fixture
def left() -> Listener:
    """A subscriber that hears everything, unless told otherwise."""
    return Listener("left")


@pytest.fixture
def right() -> Listener:
    """Another one."""
    return Listener("right")


@pytest.fixture
def wiring(outside: toy.Outside, left: Listener, right: Listener) -> Iterator[Wiring]:
    """The toy's wiring with two subscribers to words, in force."""
    made = together([outside.wiring(), left.wiring(), right.wiring()])
    with domain.use(made):
        yield made


def together(wirings: Iterable[Wiring]) -> Wiring:
    """The wiring of a domain with several parts."""
    return merged(("toys", one) for one in wirings)


def heard(connection: Connection) -> list[str]:
    """Every word that was heard, and by which subscriber, in order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def dead(connection: Connection) -> list[str]:
    """The types of the open dead letters."""
    found = connection.execute("SELECT job_type FROM engine.failed_jobs WHERE resolved_at IS NULL ORDER BY job_type")
    return [name for (name,) in found]


def test_one_that_fails_has_a_letter_of_its_own_and_a_replay_of_it_concerns_no_other(
    database: Database, connection: Connection, wiring: Wiring, right: Listener
) -> None:
    """The owner and the other subscriber apply the event once. The letter names the subscriber that failed."""
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


def test_an_owner_that_fails_gives_nothing_to_its_subscribers(connection: Connection, wiring: Wiring) -> None:
    """They are given what was applied."""
    publish(connection, say("no", "bad"), say("yes"))
    drain_all(connection)
    assert heard(connection) == ["left yes", "right yes", "yes"]
    assert dead(connection) == ["toy/word.said"]


def test_an_event_that_is_delivered_again_is_given_once(
    connection: Connection, wiring: Wiring, left: Listener, right: Listener
) -> None:
    """Neither a copy of the event nor one of what a subscriber was given is applied a second time."""
    event = say("a")
    publish(connection, event)
    drain_all(connection)
    publish(connection, event)
    publish(connection, *left.given, *right.given)
    drain_all(connection)
    assert heard(connection) == ["a", "left a", "right a"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log") == 3


def test_a_subscriber_is_given_the_event_with_its_data_and_attributes(
    connection: Connection, wiring: Wiring, left: Listener, right: Listener
) -> None:
    """Only type and id are others, the same each time, and the event is the cause."""
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


def test_a_crash_at_any_statement_gives_each_event_once(database: Database, wiring: Wiring) -> None:
    """The copies are published in the commit that applies the event, and each is applied in one of its own."""
    report = crash_everywhere(database, wiring, [say("a"), say("b", echoes=1)])
    assert report.cases > 10


def test_an_effect_can_subscribe(connection: Connection, outside: toy.Outside) -> None:
    """What it is given is carried out once, with the retries and the result of an effect."""
    effect = outside.wiring().effects[Wanted]
    notify = replace(effect, queue="hooks", limits=None)
    with domain.use(together([outside.wiring(), subscriber("hooks/out", effects={Said: notify})])):
        publish(connection, say("a", "once"), say("b"), want("c"))
        drain_all(connection)
    assert sorted(word for word, _ in outside.calls) == ["a", "a", "b", "c"]
    assert heard(connection) == ["a", "a: asked", "b", "b: made", "c: made"]


def test_a_program_that_does_not_know_a_subscription_lets_its_events_wait(
    database: Database, connection: Connection, outside: toy.Outside, wiring: Wiring
) -> None:
    """An old worker of a rolling deployment does not apply them as the owner's; a new worker gives them to both."""
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


def test_what_waits_for_a_subscriber_that_is_gone_is_dead_after_its_patience(
    connection: Connection, outside: toy.Outside, wiring: Wiring, left: Listener, right: Listener
) -> None:
    """As any type that no program serves; the others go on."""
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


def test_a_subscriber_is_given_a_subjects_sequenced_events_in_order(
    connection: Connection, step_faults: StepFaults
) -> None:
    """In a line of its own: one that waits holds up neither the owner nor what has no subject."""
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
    """The longer attributes of what a subscriber is given do not make the owner fail."""
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
    """A name twice, a name that cannot be used, and a type without an owner are named, with what to do."""
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
    """AsyncAPI has what each is given; the table of types that producers read does not."""
    document = contracts.asyncapi(wiring.served(), version="1")
    said = {key: one["summary"] for key, one in document["operations"].items() if "left_notes" in key}
    assert said == {
        "handle_left_notes_toy_word_said": (
            "toy/word.said is given to the subscriber left/notes, and applied once, in order of arrival."
        )
    }
    assert [one.type for one in event_types.declared() if ":" in one.type] == []
