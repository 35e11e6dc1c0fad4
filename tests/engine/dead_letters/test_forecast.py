"""Forecasts of replays: the class of each letter, and the answers about calls in doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import forecast
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Dead, DeadLetter, Filters
from app.engine.dead_letters.replay import Pace, run
from app.engine.delivery.ledger import enter
from app.engine.domain import Forecast, Forecaster
from app.engine.queue.envelope import QueuedEvent
from events import Event, Payload, new_id
from events.base import event_type, upcaster
from tests.helpers.dead_letters import NOBODY, begin_call, dead, healed, make_call
from tests.helpers.toy import Outside, Said, Wanted, say, want


@event_type("toy/tale.told", version=2)
class Told(Payload):
    """A tale, of which version 1 had no length."""

    word: str
    length: int


@upcaster(Told, since=1)
def _with_length(data: Mapping[str, Any]) -> dict[str, Any]:
    return {**data, "length": len(data["word"])}


def classes(
    connection: Connection, letters: Sequence[DeadLetter], answers: dict[UUID, str] | None = None
) -> list[tuple[str, str | None]]:
    """Return class and detail of each letter."""
    read = [Dead(one.id, one.event_id, one.event_data, one.failed_at) for one in letters]
    return [(one.class_, one.detail) for one in forecast.classify(connection, read, answers or {})]


@contextmanager
def forecasting(outside: Outside, forecaster: Forecaster) -> Iterator[None]:
    """Use a forecaster for words."""
    wiring = outside.wiring()
    with domain.use(domain.Wiring(wiring.handlers, wiring.effects, {Said: forecaster})):
        yield


def test_a_letter_without_obstacle_is_valid(connection: Connection, outside: Outside) -> None:
    """The forecast has the items and jobs that the domain expects to change."""
    event, item, job = say("good"), new_id(), new_id()
    (letter,) = dead(connection, event)
    with forecasting(outside, lambda _c, said: {one.id: Forecast(frozenset({item}), frozenset({job})) for one in said}):
        read = Dead(letter.id, letter.event_id, letter.event_data, letter.failed_at)
        (found,) = forecast.classify(connection, [read], {})
    assert (found.class_, found.detail, found.letter) == ("valid", None, read)
    assert found.forecast == Forecast(frozenset({item}), frozenset({job}))


@pytest.mark.parametrize(
    ("expected", "class_"),
    [
        (Forecast(blocked="paused"), ("blocked", "paused")),
        (Forecast(idle="overtaken"), ("already_applied", "overtaken")),
        (Forecast(idle="overtaken", blocked="paused"), ("blocked", "paused")),
    ],
)
def test_the_domains_forecast_decides(
    connection: Connection, outside: Outside, expected: Forecast, class_: tuple[str, str]
) -> None:
    """A blocked letter must not be replayed; a replay of an idle one would change nothing."""
    with forecasting(outside, lambda _c, said: {one.id: expected for one in said}):
        assert classes(connection, dead(connection, say("word"))) == [class_]


def test_an_applied_event_needs_no_replay(connection: Connection, outside: Outside) -> None:
    """The ledger has it, even if it is blocked or in doubt."""
    said, wanted = say("word"), want("word")
    letters = dead(connection, said, wanted)
    begin_call(connection, wanted)
    enter(
        connection,
        [QueuedEvent(0, 0, one.event_data, event) for one, event in zip(letters, (said, wanted), strict=True)],
    )
    with forecasting(outside, lambda _c, events: {one.id: Forecast(blocked="paused") for one in events}):
        assert classes(connection, letters) == [("already_applied", "the ledger has it")] * 2


def test_an_event_that_cannot_be_parsed_is_invalid(connection: Connection, outside: Outside) -> None:
    """With the reason. So is an event whose id belongs to another event."""
    (letter,) = dead(connection, say("word"))
    unreadable = replace(letter, event_data={**letter.event_data, "data": {"wrong": 1}})
    assert classes(connection, [unreadable])[0][0] == "invalid"
    assert "data.wrong" in str(classes(connection, [unreadable])[0][1])
    foreign = replace(letter, event_id=new_id())
    ((class_, detail),) = classes(connection, [foreign])
    assert (class_, "belongs to another event" in str(detail)) == ("invalid", True)


def test_an_event_of_an_older_version_is_valid_after_an_upcast(connection: Connection, outside: Outside) -> None:
    """The detail names the version."""
    (letter,) = dead(connection, say("word"))
    old = {**letter.event_data, "type": "toy/tale.told", "dataschema": "toy/tale.told/1", "data": {"word": "once"}}
    assert classes(connection, [replace(letter, event_data=old)]) == [("valid_after_upcast", "from version 1")]


@pytest.mark.parametrize("can_be_asked", [True, False])
def test_a_call_in_doubt_has_the_other_sides_answer(
    connection: Connection, outside: Outside, *, can_be_asked: bool
) -> None:
    """Without an answer the detail says what a replay does. A call that was not begun is not in doubt."""
    doubtful, fresh = want("doubtful"), want("fresh")
    letters = dead(connection, doubtful, fresh)
    begin_call(connection, doubtful)
    with domain.use(outside.wiring(can_be_asked=can_be_asked)):
        (first, second), ((_, unasked), _) = (
            classes(connection, letters, {doubtful.id: "it has it"}),
            classes(connection, letters),
        )
    assert (first, second) == (("in_doubt", "it has it"), ("valid", None))
    assert str(unasked).startswith("the replay asks" if can_be_asked else "the other side cannot be asked")


def test_a_call_in_progress_blocks_its_letter(connection: Connection, outside: Outside) -> None:
    """Its outcome may make the replay unnecessary."""
    event = want("busy")
    letters = dead(connection, event)
    make_call(connection, event)
    ((class_, detail),) = classes(connection, letters)
    assert (class_, "is being called at this moment" in str(detail)) == ("blocked", True)


def test_a_letter_that_another_replay_has_published_is_blocked(connection: Connection, outside: Outside) -> None:
    """The detail names the plan that waits for it."""
    letters = dead(connection, say("word"))
    plan = plans.make(connection, Filters(), actor="ana")
    with healed():
        run(connection, plan, Pace(wait=0), actor="ana", reason=None, show=NOBODY)
    assert classes(connection, letters) == [("blocked", f"replayed, waiting: `dead replay {plan.id}` waits for it")]


def test_only_calls_in_doubt_are_asked_about(connection: Connection, outside: Outside) -> None:
    """Outside a transaction; the effect's connections are closed afterwards."""
    doubtful, fresh, said = want("doubtful"), want("fresh"), say("word")
    letters = dead(connection, doubtful, fresh, said)
    begin_call(connection, doubtful)
    done: list[object] = []

    async def ask(events: Sequence[Event[Any]]) -> dict[UUID, str]:
        done.append([event.id for event in events])
        done.append(connection.info.transaction_status.name)
        return {event.id: "it has it" for event in events}

    async def close() -> None:
        done.append("closed")

    wiring = outside.wiring()
    effect = replace(wiring.effects[Wanted], ask=ask, close=close)
    pages = [[Dead(one.id, one.event_id, one.event_data, one.failed_at)] for one in letters]
    with domain.use(domain.Wiring(wiring.handlers, {Wanted: effect})):
        assert forecast.ask(connection, pages) == {doubtful.id: "it has it"}
    assert done == [[doubtful.id], "IDLE", "closed"]
    assert forecast.ask(connection, pages) == {}
