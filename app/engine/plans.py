"""Plans: what a replay of dead letters would do, said before anything is done.

A plan freezes a set of letters and classes each event:

    already_applied      nothing would happen: the ledger has it, or it has been overtaken
    valid                it would be delivered as it is
    valid_after_upcast   it is of an older version and would be upcast
    invalid              this code cannot read it; `detail` has the reasons
    in_doubt             its outside call may have happened; `detail` has what the other side said when asked
    blocked              it must not be tried now; `detail` says why
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

import events
from app.context import Connection
from app.engine import actions, awaited, sequence
from app.engine.letters import DeadLetter, Filters, select
from app.engine.parcel import live
from app.engine.registry import Effect, Forecast, wiring
from app.errors import NotFound
from events import Event, Unreadable, new_id

Class = Literal["already_applied", "valid", "valid_after_upcast", "invalid", "in_doubt", "blocked"]
REPLAYED: tuple[Class, ...] = ("already_applied", "valid", "valid_after_upcast", "in_doubt")
"""The classes that a replay does something about; the others stay as they are."""
_NOBODY_KNOWS = (
    "the other side cannot be asked: a replay skips it; `dead replay --again` makes the call again,"
    " `dead resolve --as-done` records its result"
)
LARGEST_PLAN = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A frozen set of letters, how they were chosen, and what replaying them would change."""

    id: UUID
    created_at: datetime
    created_by: str
    filters: dict[str, Any]
    items_to_change: int
    counters_to_change: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlanLetter:
    """One letter of a plan; `awaited_id` is the event whose end is the `outcome`."""

    plan_id: UUID
    letter_id: UUID
    position: int
    event_id: UUID | None
    failed_at: datetime
    class_: Class
    detail: str | None
    replayed_at: datetime | None
    awaited_id: UUID | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A letter with its class, why, and what it would change."""

    letter: DeadLetter
    class_: Class
    detail: str | None = None
    forecast: Forecast = field(default_factory=Forecast)


_APPLIED = "SELECT event_id FROM engine.event_log WHERE event_id = ANY(%s)"
_BEGUN = "SELECT call_key, event_id FROM engine.calls WHERE call_key = ANY(%(keys)s) OR event_id = ANY(%(events)s)"
_INSERT_PLAN = """
INSERT INTO engine.replay_plans (id, created_by, filters, items_to_change, counters_to_change)
VALUES (%s, %s, %s, %s, %s)
RETURNING id, created_at, created_by, filters, items_to_change, counters_to_change, finished_at
"""
_INSERT_LETTERS = """
INSERT INTO engine.replay_plan_letters (plan_id, letter_id, position, event_id, failed_at, class, detail)
SELECT %s, r.letter_id, r.position, r.event_id, r.failed_at, r.class, r.detail
  FROM jsonb_to_recordset(%s) AS r (letter_id uuid, position integer, event_id uuid, failed_at timestamptz, class text,
                                    detail text)
"""
_PLAN = """
SELECT id, created_at, created_by, filters, items_to_change, counters_to_change, finished_at
  FROM engine.replay_plans WHERE id = %s
"""
# What has come since the last replay looked is told too.
_LETTERS = """
SELECT plan_id, letter_id, position, event_id, failed_at, class AS class_, detail, replayed_at, awaited_id,
       CASE WHEN p.outcome IS NOT NULL OR p.replayed_at IS NULL THEN p.outcome
            WHEN EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = p.awaited_id) THEN 'applied'
            WHEN EXISTS (SELECT FROM engine.failed_jobs f
                          WHERE f.event_id = p.awaited_id AND f.failed_at > p.replayed_at) THEN 'dead' END AS outcome
  FROM engine.replay_plan_letters p WHERE plan_id = %s ORDER BY position
"""


def make(connection: Connection, filters: Filters, *, actor: str) -> Plan:
    """Freeze the letters that the filters mean, and class them; the plan is stored.

    Events in doubt are asked about, which takes as long as the other side takes; nothing is locked meanwhile.
    """
    found = select(connection, filters, LARGEST_PLAN)[::-1]
    connection.commit()
    answers = _answers(connection, found)
    judged = _judge(connection, found, answers)
    with connection.transaction():
        plan = _store(connection, filters, judged, actor)
        details = {"letters": len(judged), "filters": filters.as_json()}
        actions.record(connection, actor, "plan", subject=plan.id, details=details)
    return plan


def find(connection: Connection, plan_id: UUID) -> Plan:
    """A stored plan. Raises `NotFound`."""
    plan = connection.cursor(row_factory=class_row(Plan)).execute(_PLAN, [plan_id]).fetchone()
    if plan is None:
        raise NotFound(f"plan: there is none with the id {plan_id}; `dead plan` makes one")
    return plan


def letters(connection: Connection, plan_id: UUID) -> list[PlanLetter]:
    """The letters of a plan, in the order in which they are replayed: the oldest death first."""
    return connection.cursor(row_factory=class_row(PlanLetter)).execute(_LETTERS, [plan_id]).fetchall()


def _answers(connection: Connection, found: Sequence[DeadLetter]) -> dict[UUID, str]:
    """What other sides say of the events whose calls were begun and never recorded."""
    read = [event for event in events.parse_all([letter.event_data for letter in found]) if isinstance(event, Event)]
    keys = wiring().call_keys(read)
    begun = connection.execute(_BEGUN, {"keys": list(keys.values()), "events": list(keys)}).fetchall()
    marked = {one for mark in begun for one in mark}
    connection.commit()
    by_effect: dict[type[Any], list[Event[Any]]] = {}
    for event in read:
        if not marked.isdisjoint({event.id, keys.get(event.id, event.id)}):
            by_effect.setdefault(type(event.data), []).append(event)
    return asyncio.run(_ask([(wiring().effects[kind], some) for kind, some in by_effect.items()]))


async def _ask(doubts: Sequence[tuple[Effect, Sequence[Event[Any]]]]) -> dict[UUID, str]:
    answers: dict[UUID, str] = {}
    for effect, some in doubts:
        said: Mapping[UUID, str] = await effect.ask(some) if effect.ask else {}
        unknown = "the replay asks the other side" if effect.can_be_asked else _NOBODY_KNOWS
        answers |= {event.id: said.get(event.id, unknown) for event in some}
        if effect.close:
            await effect.close()
    return answers


def _judge(connection: Connection, found: Sequence[DeadLetter], answers: Mapping[UUID, str]) -> list[_Judged]:
    read = events.parse_all([letter.event_data for letter in found])
    applied = {event_id for (event_id,) in connection.execute(_APPLIED, [[letter.event_id for letter in found]])}
    events_ = [event for event in read if isinstance(event, Event)]
    forecasts = _forecasts(connection, events_)
    by_letter = {one.id: one.event_id for one in found if one.event_id}
    keys = wiring().call_keys(events_)
    under_way = live(connection, list(keys.values()))
    for event_id in [event_id for event_id, key in keys.items() if key in under_way]:
        forecasts[event_id] = Forecast(blocked="another copy of it is being called at this moment: plan again later")
    for event_id, dead in sequence.obstacles(connection, [event.id for event in events_]).items():
        forecasts[event_id] = Forecast(blocked=f"it would wait behind the dead event {dead}, which is not in the plan")
    for letter_id, plan_id in awaited.in_the_queue(connection, [letter.id for letter in found]).items():
        forecasts[by_letter[letter_id]] = Forecast(blocked=f"replayed, waiting: `dead replay {plan_id}` waits for it")
    connection.commit()
    return [
        _class(letter, event, letter.event_id in applied, forecasts, answers)
        for letter, event in zip(found, read, strict=True)
    ]


def _forecasts(connection: Connection, read: Sequence[Event[Any]]) -> dict[UUID, Forecast]:
    by_kind: dict[type[Any], list[Event[Any]]] = {}
    for event in read:
        by_kind.setdefault(type(event.data), []).append(event)
    found: dict[UUID, Forecast] = {}
    for kind, some in by_kind.items():
        if (forecaster := wiring().forecasts.get(kind)) is not None:
            found.update(forecaster(connection, some))
    return found


def _class(
    letter: DeadLetter,
    event: Event[Any] | Unreadable,
    is_applied: bool,  # noqa: FBT001 - the verdict of the ledger
    forecasts: Mapping[UUID, Forecast],
    answers: Mapping[UUID, str],
) -> _Judged:
    if is_applied:
        return _Judged(letter, "already_applied", "the ledger has it")
    if isinstance(event, Unreadable):
        return _Judged(letter, "invalid", event.reason)
    if letter.event_id != event.id:
        return _Judged(letter, "invalid", f"its id {event.id} belongs to another event; `dead edit` gives it a new one")
    forecast = forecasts.get(event.id, Forecast())
    if forecast.blocked:
        return _Judged(letter, "blocked", forecast.blocked)
    if event.id in answers:
        return _Judged(letter, "in_doubt", answers[event.id], forecast)
    if forecast.idle:
        return _Judged(letter, "already_applied", forecast.idle)
    if event.version != event.data.version:
        return _Judged(letter, "valid_after_upcast", f"from version {event.version}", forecast)
    return _Judged(letter, "valid", None, forecast)


def _store(connection: Connection, filters: Filters, judged: Sequence[_Judged], actor: str) -> Plan:
    items = {item for one in judged for item in one.forecast.items}
    jobs = {job for one in judged for job in one.forecast.jobs}
    values = [new_id(), actor, Jsonb(filters.as_json()), len(items), len(jobs)]
    plan = connection.cursor(row_factory=class_row(Plan)).execute(_INSERT_PLAN, values).fetchone()
    if plan is None:
        raise AssertionError
    rows = [
        {
            "letter_id": str(one.letter.id),
            "position": position,
            "event_id": str(one.letter.event_id) if one.letter.event_id else None,
            "failed_at": one.letter.failed_at.isoformat(),
            "class": one.class_,
            "detail": one.detail,
        }
        for position, one in enumerate(judged)
    ]
    connection.execute(_INSERT_LETTERS, [plan.id, Jsonb(rows)])
    return plan
