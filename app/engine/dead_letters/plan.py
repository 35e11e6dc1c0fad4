"""Plan a replay of dead letters: a dry run that changes nothing.

A plan freezes a set of letters and gives each event a class:

    already_applied      a replay would change nothing: the ledger contains the event, or it was overtaken
    valid                a replay would deliver the event unchanged
    valid_after_upcast   the event has an older version and would be upcast
    invalid              this code cannot parse the event; `detail` has the reasons
    in_doubt             the event's outside call may have happened; `detail` has the other side's answer
    blocked              the event must not be replayed now; `detail` has the reason
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from app.context import Connection
from app.engine import audit_log
from app.engine.dead_letters import forecast
from app.engine.dead_letters.forecast import Class, Classified
from app.engine.dead_letters.letters import PAGE, Filters, stream
from app.engine.domain import wiring
from app.errors import NotFound
from events import new_id


@dataclass(frozen=True, slots=True)
class Plan:
    """A frozen set of letters. `items_to_change` and `counters_to_change`: distinct items and jobs in its forecasts."""

    id: UUID
    created_at: datetime
    created_by: str
    filters: dict[str, Any]
    items_to_change: int
    counters_to_change: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlanLetter:
    """A letter of a plan. `awaited_id`: the event whose end gives the `outcome`."""

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
class SummaryLine:
    """A count of letters of a plan with the same class, detail and outcome."""

    class_: Class
    letters: int
    outcome: str
    detail: str


_INSERT_PLAN = """
INSERT INTO engine.replay_plans (id, created_by, filters) VALUES (%s, %s, %s)
"""
_INSERT_LETTERS = """
INSERT INTO engine.replay_plan_letters (plan_id, letter_id, position, event_id, failed_at, class, detail, items, jobs)
SELECT %s, r.letter_id, r.position, r.event_id, r.failed_at, r.class, r.detail, r.items, r.jobs
  FROM jsonb_to_recordset(%s) AS r (letter_id uuid, position integer, event_id uuid, failed_at timestamptz, class text,
                                    detail text, items uuid[], jobs uuid[])
"""
# Runs after all letters are inserted: a letter that failed later may have an earlier position in its sequence.
_BLOCK = """
UPDATE engine.replay_plan_letters p
   SET class = 'blocked', items = '{}', jobs = '{}',
       detail = 'it would wait behind the dead event ' || ahead.event_id || ', which is not in the plan'
  FROM engine.sequence s,
       LATERAL (SELECT a.event_id FROM engine.sequence a
                  JOIN engine.failed_jobs f ON f.event_id = a.event_id AND f.resolved_at IS NULL
                 WHERE a.subject_id = s.subject_id AND a.type = s.type AND a.position < s.position
                   AND NOT EXISTS (SELECT FROM engine.replay_plan_letters q
                                    WHERE q.plan_id = %(plan)s AND q.letter_id = f.id)
                 ORDER BY a.position LIMIT 1) ahead
 WHERE p.plan_id = %(plan)s AND p.event_id = s.event_id AND p.class NOT IN ('invalid', 'blocked')
   AND NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = p.event_id)
"""
_SUM_UP = """
UPDATE engine.replay_plans
   SET items_to_change = (SELECT count(DISTINCT item) FROM engine.replay_plan_letters p, unnest(p.items) item
                           WHERE p.plan_id = %(plan)s),
       counters_to_change = (SELECT count(DISTINCT job) FROM engine.replay_plan_letters p, unnest(p.jobs) job
                              WHERE p.plan_id = %(plan)s)
 WHERE id = %(plan)s
RETURNING id, created_at, created_by, filters, items_to_change, counters_to_change, finished_at
"""
_PLAN = """
SELECT id, created_at, created_by, filters, items_to_change, counters_to_change, finished_at
  FROM engine.replay_plans WHERE id = %s
"""
# Includes outcomes that arrived after the last replay read them.
_LETTERS: LiteralString = """
SELECT plan_id, letter_id, position, event_id, failed_at, class AS class_, detail, replayed_at, awaited_id,
       CASE WHEN p.outcome IS NOT NULL OR p.replayed_at IS NULL THEN p.outcome
            WHEN EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = p.awaited_id) THEN 'applied'
            WHEN EXISTS (SELECT FROM engine.failed_jobs f
                          WHERE f.event_id = p.awaited_id AND f.failed_at > p.replayed_at) THEN 'dead' END AS outcome
  FROM engine.replay_plan_letters p WHERE plan_id = %s ORDER BY position
"""
_LINES = f"""
SELECT class_, count(*) AS letters,
       coalesce(outcome, CASE WHEN replayed_at IS NULL THEN '' ELSE 'replayed, waiting' END) AS outcome,
       coalesce(detail, '') AS detail
  FROM ({_LETTERS}) letter GROUP BY 1, 3, 4 ORDER BY letters DESC, 1, 3, 4 LIMIT %s
"""  # noqa: S608
_PAGE = f"SELECT * FROM ({_LETTERS}) letter WHERE position > %s ORDER BY position LIMIT %s"  # noqa: S608
_CLASSES = "SELECT class, count(*) FROM engine.replay_plan_letters WHERE plan_id = %s GROUP BY class ORDER BY class"


def make(connection: Connection, filters: Filters, *, actor: str) -> Plan:
    """Class the letters that match the filters and store them as a plan. Returns the plan.

    First asks the other sides about calls in doubt, without locks. Then reads all letters in one snapshot, page by
    page, and stores them in one transaction. The connection must be outside a transaction.
    """
    effects = [payload.type for payload in wiring().effects]
    answers = forecast.ask(connection, stream(connection, filters, effects))
    plan_id, count = new_id(), 0
    with connection.transaction():
        connection.execute(_INSERT_PLAN, [plan_id, actor, Jsonb(filters.as_json())])
        for page in stream(connection, filters):
            _store(connection, plan_id, count, forecast.classify(connection, page, answers))
            count += len(page)
        connection.execute(_BLOCK, {"plan": plan_id})
        plan = connection.cursor(row_factory=class_row(Plan)).execute(_SUM_UP, {"plan": plan_id}).fetchone()
        details = {"letters": count, "filters": filters.as_json()}
        audit_log.record(connection, actor, "plan", subject=plan_id, details=details)
    if plan is None:
        raise AssertionError
    return plan


def find(connection: Connection, plan_id: UUID) -> Plan:
    """Return a stored plan. Raises `NotFound`."""
    plan = connection.cursor(row_factory=class_row(Plan)).execute(_PLAN, [plan_id]).fetchone()
    if plan is None:
        raise NotFound(f"plan: there is none with the id {plan_id}; `dead plan` makes one")
    return plan


def letters(connection: Connection, plan_id: UUID) -> list[PlanLetter]:
    """Return the letters of a plan in the order of replay: oldest failure first."""
    return list(each_letter(connection, plan_id))


def each_letter(connection: Connection, plan_id: UUID) -> Iterator[PlanLetter]:
    """Yield the letters of a plan in the order of replay, from a server-side cursor."""
    with connection.transaction(), connection.cursor(name="letters", row_factory=class_row(PlanLetter)) as cursor:
        cursor.itersize = PAGE
        yield from cursor.execute(_LETTERS, [plan_id])


def page(connection: Connection, plan_id: UUID, after: int, limit: int) -> list[PlanLetter]:
    """Return at most `limit` letters of a plan in the order of replay, from the position after `after` on."""
    return connection.cursor(row_factory=class_row(PlanLetter)).execute(_PAGE, [plan_id, after, limit]).fetchall()


def classes(connection: Connection, plan_id: UUID) -> dict[Class, int]:
    """Return the number of letters of a plan by class."""
    return dict(connection.execute(_CLASSES, [plan_id]).fetchall())


def summary(connection: Connection, plan_id: UUID, most: int) -> list[SummaryLine]:
    """Count the letters of a plan by class, outcome and detail. Returns the `most` largest counts, largest first."""
    return connection.cursor(row_factory=class_row(SummaryLine)).execute(_LINES, [plan_id, most]).fetchall()


def _store(connection: Connection, plan_id: UUID, position: int, classified: Sequence[Classified]) -> None:
    """Add letters to a plan, with positions that start at `position`."""
    rows = [
        {
            "letter_id": str(one.letter.id),
            "position": number,
            "event_id": str(one.letter.event_id) if one.letter.event_id else None,
            "failed_at": one.letter.failed_at.isoformat(),
            "class": one.class_,
            "detail": one.detail,
            "items": sorted(map(str, one.forecast.items)),
            "jobs": sorted(map(str, one.forecast.jobs)),
        }
        for number, one in enumerate(classified, position)
    ]
    connection.execute(_INSERT_LETTERS, [plan_id, Jsonb(rows)])
