"""Redeliver letters in the transaction that takes them from a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.dead_letters import letters
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import End, redeliver
from app.engine.delivery.ledger import enter
from app.engine.domain import Wiring
from app.engine.queue.envelope import QueuedEvent
from events import Event
from tests.helpers.dead_letters import begin_call, dead, make_call, plan_of_one_that_died_again
from tests.helpers.support import deliver, drain_all, scalar
from tests.helpers.toy import Outside, Wanted, say, want

_QUEUE = "SELECT count(*) FROM public.procrastinate_jobs"
_APPLIED = "SELECT count(*) FROM engine.event_log WHERE event_id = %s"


def taken(connection: Connection) -> list[plans.PlanLetter]:
    """Plan a replay of all open letters. Returns the plan's letters."""
    return plans.letters(connection, plans.make(connection, Filters(), actor="ana").id)


def replayed(connection: Connection, found: Sequence[plans.PlanLetter], *, again: bool = False) -> dict[UUID, End]:
    """Redeliver letters in one transaction. Returns the ends by the letter's id."""
    with connection.transaction():
        return {end.letter_id: end for end in redeliver(connection, found, again=again)}


def reviving(outside: Outside, *, is_overtaken: bool = False) -> Wiring:
    """Return wiring whose effect revives a dead request as a new request, unless all are overtaken."""

    def revive(context: HandlerContext, dead_: Sequence[Event[Any]]) -> dict[UUID, Event[Any]]:
        return {} if is_overtaken else {event.id: event.follow(event.data, context.now, key="next") for event in dead_}

    wiring = outside.wiring()
    return Wiring(wiring.handlers, {Wanted: replace(wiring.effects[Wanted], revive=revive)})


def test_a_handlers_event_is_published_again_with_its_own_id(connection: Connection, outside: Outside) -> None:
    """The letter counts the replay, and stays open until the event is applied."""
    event = say("word")
    (letter,) = dead(connection, event)
    assert replayed(connection, taken(connection)) == {letter.id: End(letter.id, event.id)}
    found = letters.find(connection, letter.id)
    assert (found.replay_count, found.resolved_at, found.replayed_at is not None) == (1, None, True)
    drain_all(connection)
    assert scalar(connection, _APPLIED, event.id) == 1
    assert letters.find(connection, letter.id).resolved_at is not None


def test_a_letter_that_changed_since_the_plan_is_skipped(connection: Connection, outside: Outside) -> None:
    """It was dead-lettered again or resolved: nothing is published."""
    plan = plan_of_one_that_died_again(connection)
    (died_again,) = plans.letters(connection, plan.id)
    assert replayed(connection, [died_again]) == {died_again.letter_id: End(died_again.letter_id, outcome="skipped")}
    (planned,) = taken(connection)
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now()")
    assert replayed(connection, [planned])[planned.letter_id].outcome == "skipped"
    assert deliver(connection) == 0


def test_a_letter_of_an_applied_event_is_resolved_without_a_replay(connection: Connection, outside: Outside) -> None:
    """The plan knows it as applied. The note has the reason."""
    event = say("word")
    (letter,) = dead(connection, event)
    enter(connection, [QueuedEvent(0, 0, letter.event_data, event)])
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = NULL")
    assert replayed(connection, taken(connection)) == {letter.id: End(letter.id, outcome="applied")}
    found = letters.find(connection, letter.id)
    assert (found.resolved_at is not None, found.notes) == (True, "nothing to replay: the ledger has it")
    assert (found.replay_count, scalar(connection, _QUEUE)) == (0, 0)


def test_a_dead_effect_is_revived_as_a_new_event(connection: Connection, outside: Outside) -> None:
    """In one commit: the ledger has the dead event, the letter is resolved, and names its successor."""
    event = want("word")
    (letter,) = dead(connection, event)
    with domain.use(reviving(outside)):
        end = replayed(connection, taken(connection))[letter.id]
        found = letters.find(connection, letter.id)
        assert (found.replaced_by, found.resolved_at is not None) == (end.awaited, True)
        assert found.notes == f"revived as event {end.awaited}"
        assert end.awaited not in {event.id, None}
        assert scalar(connection, _APPLIED, event.id) == 1
        drain_all(connection)
    assert [word for word, _ in outside.calls] == ["word"]
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_an_overtaken_effect_is_resolved_without_a_replay(connection: Connection, outside: Outside) -> None:
    """`revive` returns no event for it."""
    (letter,) = dead(connection, want("word"))
    with domain.use(reviving(outside, is_overtaken=True)):
        assert replayed(connection, taken(connection)) == {letter.id: End(letter.id, outcome="applied")}
    assert letters.find(connection, letter.id).notes == "nothing to revive: it was overtaken"
    assert scalar(connection, _QUEUE) == 0


def test_an_effect_that_was_applied_since_the_plan_is_not_revived(connection: Connection, outside: Outside) -> None:
    """The ledger rejects it, and nothing is published."""
    event = want("word")
    (letter,) = dead(connection, event)
    with domain.use(reviving(outside)):
        found = taken(connection)
        enter(connection, [QueuedEvent(0, 0, letter.event_data, event)])
        connection.execute("UPDATE engine.failed_jobs SET resolved_at = NULL")
        assert replayed(connection, found)[letter.id].outcome == "applied"
    assert scalar(connection, _QUEUE) == 0


@pytest.mark.parametrize("again", [True, False])
def test_a_call_in_doubt_that_cannot_be_asked_about_is_repeated_only_with_again(
    connection: Connection, outside: Outside, *, again: bool
) -> None:
    """Otherwise the letter is skipped. A repeated call is not in doubt any more."""
    event = want("word")
    (letter,) = dead(connection, event)
    begin_call(connection, event)
    with domain.use(outside.wiring(can_be_asked=False)):
        end = replayed(connection, taken(connection), again=again)[letter.id]
        drain_all(connection)
    assert end == (End(letter.id, event.id) if again else End(letter.id, outcome="skipped"))
    assert [call.in_doubt for _, call in outside.calls] == ([False] if again else [])
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == (0 if again else 1)


def test_a_call_in_doubt_is_asked_about_by_the_next_delivery(connection: Connection, outside: Outside) -> None:
    """The mark of the call stays; a call that was not begun leaves no mark."""
    doubtful, fresh = want("doubtful"), want("fresh")
    dead(connection, doubtful, fresh)
    begin_call(connection, doubtful)
    replayed(connection, taken(connection))
    assert scalar(connection, "SELECT array_agg(event_id) FROM engine.calls") == [doubtful.id]
    drain_all(connection)
    assert {word: call.in_doubt for word, call in outside.calls} == {"doubtful": True, "fresh": False}


def test_a_revived_effect_is_skipped_while_another_delivery_makes_its_call(
    connection: Connection, outside: Outside
) -> None:
    """The outcome of that call decides."""
    event = want("busy")
    (letter,) = dead(connection, event)
    with domain.use(reviving(outside)):
        (planned,) = taken(connection)
        make_call(connection, event)
        assert replayed(connection, [planned])[letter.id].outcome == "skipped"
    assert letters.find(connection, letter.id).resolved_at is None
