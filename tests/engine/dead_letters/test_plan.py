"""Plans: all letters that match the filters, in one snapshot."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import letters
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.domain import Forecast
from events import Event
from tests.helpers import toy
from tests.helpers.toy import Outside, say, want

_LETTERS = """
INSERT INTO engine.failed_jobs (job_type, event_data, error_message, error_stack, retry_count, event_id, failed_at)
SELECT 'toy/word.said', %(event)s::jsonb || jsonb_build_object('id', one.id), 'no', repeat('x', 2000), 1, one.id,
       now() - one.n %% 7 * interval '1 second'
  FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, %(count)s) n) one
"""
_ONE = """
INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id) VALUES (%s, %s, %s, 1, %s)
"""


def bury_many(connection: Connection, count: int) -> None:
    """Insert dead words, many with the same time of failure."""
    connection.execute(_LETTERS, {"event": say("word").json_bytes().decode(), "count": count})
    connection.commit()


def bury_in_doubt(connection: Connection, event: Event[Any]) -> None:
    """Insert a dead letter of an effect whose call was begun."""
    connection.execute(_ONE, [event.type, event.json_bytes().decode(), "no", event.id])
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts) VALUES (%s, %s, 0, 0)", [event.id] * 2
    )
    connection.commit()


@pytest.mark.parametrize("page", [1, 3, 500])
def test_a_plan_has_every_letter_once_oldest_failure_first(
    connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """For any page size, also with equal times of failure."""
    monkeypatch.setattr(letters, "PAGE", page)
    bury_many(connection, 20)
    plan = plans.make(connection, Filters(), actor="ana")
    found = plans.letters(connection, plan.id)
    assert [one.position for one in found] == list(range(20))
    assert len({one.letter_id for one in found}) == 20
    assert [one.failed_at for one in found] == sorted(one.failed_at for one in found)
    assert plans.classes(connection, plan.id) == {"valid": 20}
    assert [(one.class_, one.letters, one.outcome) for one in plans.summary(connection, plan.id, 5)] == [
        ("valid", 20, "")
    ]


def test_a_plan_is_not_held_in_memory(connection: Connection, outside: Outside) -> None:
    """Eight times as many letters take less than twice the memory."""
    peaks = []
    for count in (1_000, 7_000):
        bury_many(connection, count)
        tracemalloc.start()
        plan = plans.make(connection, Filters(), actor="ana")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sum(plans.classes(connection, plan.id).values()) == 8_000
    assert peaks[1] < 2 * peaks[0]


def test_changes_are_counted_once_over_all_pages(
    connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two letters about one item, on two pages, count one item and one job."""
    monkeypatch.setattr(letters, "PAGE", 2)
    bury_many(connection, 6)
    item, job = uuid4(), uuid4()
    wiring = outside.wiring()
    forecasts: Any = {
        toy.Said: lambda _c, said: {one.id: Forecast(frozenset({item, uuid4()}), frozenset({job})) for one in said}
    }
    with domain.use(domain.Wiring(wiring.handlers, wiring.effects, forecasts)):
        plan = plans.make(connection, Filters(), actor="ana")
    assert (plan.items_to_change, plan.counters_to_change) == (7, 1)


def test_a_call_that_came_into_doubt_after_the_others_were_asked_is_in_doubt(
    connection: Connection, outside: Outside
) -> None:
    """The other side is asked before the letters are frozen. A later letter in doubt is not valid."""
    first, late = want("first"), want("late")
    bury_in_doubt(connection, first)

    async def ask(asked: Sequence[Event[Any]]) -> dict[UUID, str]:
        bury_in_doubt(connection, late)
        return {event.id: "it has it" for event in asked}

    wiring = outside.wiring()
    effects: Any = {toy.Wanted: replace(wiring.effects[toy.Wanted], ask=ask)}
    with domain.use(domain.Wiring(wiring.handlers, effects)):
        plan = plans.make(connection, Filters(), actor="ana")
    assert {one.event_id: (one.class_, one.detail) for one in plans.letters(connection, plan.id)} == {
        first.id: ("in_doubt", "it has it"),
        late.id: ("in_doubt", "the replay asks the other side"),
    }
