"""Different events with the same id are told apart everywhere. Each test finds a seeded bug."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.engine.delivery.bury import bury
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.errors import Permanent, ReusedId
from events import Event
from tests.helpers import toy
from tests.helpers.faults.race import Race
from tests.helpers.faults.snapshot import snapshot
from tests.helpers.support import scalar
from tests.helpers.toy import Said, say

_DEAD = "SELECT array_agg(event_data->'data'->>'word' ORDER BY id) FROM engine.failed_jobs WHERE resolved_at IS NULL"


def test_consequences_without_a_key_are_refused(race: Race) -> None:
    """Publishing them raises, since the queue would keep only one."""
    cause = say("cause")
    consequences = [cause.follow(Said(word=str(n)), toy.NOW) for n in range(4)]
    try:
        publish(race.stage.connection, *consequences)
    except ReusedId:
        return
    raise AssertionError("four events were published under one id")


@pytest.mark.parametrize("together", [True, False])
def test_of_two_events_with_one_id_one_is_applied_and_one_buried(race: Race, *, together: bool) -> None:
    """In one delivery and in two."""
    first = say("first")
    publish(race.stage.connection, first)
    if not together:
        _deliver(race)
    publish(race.stage.connection, first.model_copy(update={"data": Said(word="second")}))
    _deliver(race)
    assert snapshot(race.stage.connection)[0].heard == {"first": 1}
    assert scalar(race.stage.connection, _DEAD) == ["second"]


def test_an_event_with_the_id_of_a_dead_letter_leaves_it_open(race: Race) -> None:
    """The letter and the new event are not taken for each other."""
    first = say("first")
    race.stage.world.broken.add("first")
    publish(race.stage.connection, first)
    _deliver(race)
    publish(race.stage.connection, first.model_copy(update={"data": Said(word="second")}))
    _deliver(race)
    assert snapshot(race.stage.connection)[0].heard == {}
    assert sorted(scalar(race.stage.connection, _DEAD)) == ["first", "second"]


def test_two_facts_with_one_id_that_die_at_the_same_time_are_two_letters(race: Race) -> None:
    """The second waits for the letter of the first, finds another fact there, and gets a letter of its own."""
    first = say("first")
    second = first.model_copy(update={"data": Said(word="second")})
    race.behind(lambda connection: _bury(connection, first), lambda connection: _bury(connection, second))
    assert sorted(scalar(race.stage.connection, _DEAD)) == ["first", "second"]


def _queued(event: Event[Said]) -> QueuedEvent:
    return QueuedEvent(0, 0, event.model_dump(mode="json", exclude_none=True), event)


def _bury(connection: Connection, event: Event[Said]) -> int:
    with connection.transaction():
        return bury(connection, [(_queued(event), Permanent("no"))])


def _deliver(race: Race) -> None:
    while (hand := race.stage.take("events")) is not None:
        race.stage.deliver(hand)
