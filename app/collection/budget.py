"""The budget of runs: reserve prices before calls, book charges after them, pause and end runs.

A: `actual_cost_cents`, R: `reserved_cost_cents`, O: `overrun_cents`, C: the cap of a run. Only these statements change
A, R and O, each with the run's row locked:

    reserve   R grows by a price only where A + R + price <= C. The UPDATE itself has this condition.
    book      A page with the reservation r is charged c: R' = R - r, A' = min(A + O + c, C - R'), O' = A + O + c - A'.

So A + R <= C holds after each of them: after `book` because A' <= C - R'. A CHECK of the table repeats it. C - R' >= A,
because r >= 0, so A never shrinks. A + O grows by c with each `book` and by nothing else. Each page is booked once, so
A + O is the sum of the charges of all pages: no cent is hidden. O > 0 implies A + R = C: cents that do not fit are
booked as soon as a reservation is released.

R is the sum of the reservations of the pages, because both change in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid5

from psycopg.rows import class_row, scalar_row
from pydantic_core import to_json

from app.collection.chain import Causes, say
from app.context import Connection, HandlerContext
from events import Event
from events.collection import BudgetWarned, JobCompleted, PauseReason, RunPaused

# The prices of a run's pages add up in the order in which they are asked for: the pages before the first that does not
# fit are reserved. The runs and pages are locked by an earlier statement, so that all rows here are current.
_RESERVE = """
WITH asked AS MATERIALIZED (
    SELECT p.id, p.run_id, p.price_cents, sum(p.price_cents) OVER (PARTITION BY p.run_id ORDER BY asked.n) AS so_far
      FROM unnest(%s::uuid[]) WITH ORDINALITY AS asked (id, n)
      JOIN collection.collection_pages p ON p.id = asked.id),
fitting AS MATERIALIZED (
    SELECT asked.id, asked.run_id, asked.price_cents
      FROM asked JOIN collection.collection_runs r ON r.id = asked.run_id
     WHERE r.actual_cost_cents + r.reserved_cost_cents + asked.so_far <= r.budget_cap_cents),
reserved AS (
    UPDATE collection.collection_runs r SET reserved_cost_cents = r.reserved_cost_cents + wanted.cents
      FROM (SELECT run_id, sum(price_cents)::integer AS cents FROM fitting GROUP BY run_id) wanted
     WHERE r.id = wanted.run_id AND r.status = 'running'
       AND r.actual_cost_cents + r.reserved_cost_cents + wanted.cents <= r.budget_cap_cents
    RETURNING r.id)
UPDATE collection.collection_pages p
   SET status = 'processing', reserved_cents = p.price_cents, started_at = coalesce(p.started_at, statement_timestamp())
  FROM fitting JOIN reserved ON reserved.id = fitting.run_id
 WHERE p.id = fitting.id
RETURNING p.id
"""
_BOOK = """
UPDATE collection.collection_runs r
   SET actual_cost_cents = least(r.actual_cost_cents + r.overrun_cents + said.charged,
                                 r.budget_cap_cents - r.reserved_cost_cents + said.released),
       overrun_cents = greatest(0, r.actual_cost_cents + r.overrun_cents + said.charged
                                   - (r.budget_cap_cents - r.reserved_cost_cents + said.released)),
       reserved_cost_cents = r.reserved_cost_cents - said.released,
       total_items = r.total_items + said.found,
       processed_items = r.processed_items + said.processed,
       failed_items = r.failed_items + said.failed,
       checkpoint = r.checkpoint || said.checkpoint
  FROM jsonb_to_recordset(%s::jsonb) AS said (run_id uuid, charged integer, released integer, found integer,
                                              processed integer, failed integer, checkpoint jsonb)
 WHERE r.id = said.run_id
RETURNING r.id, r.actual_cost_cents AS spent, r.overrun_cents AS overrun, r.budget_cap_cents AS cap,
          r.warned_at IS NULL AND r.actual_cost_cents > 0 AND r.actual_cost_cents::bigint * 100 >=
              r.budget_cap_cents::bigint * coalesce((SELECT s.soft_warning_percent FROM collection.collection_settings s
                                                      WHERE s.org_id = r.org_id), %s) AS must_warn,
          r.status IN ('running', 'paused') AND r.cap_override_cents IS NULL AND r.budget_cap_cents >
              coalesce((SELECT s.budget_cap_cents FROM collection.collection_settings s WHERE s.org_id = r.org_id),
                       r.budget_cap_cents) AS must_shrink
"""
# A cap that was lowered below what a run has spent and reserved follows as reservations are released.
_SHRINK = """
UPDATE collection.collection_runs r
   SET budget_cap_cents = greatest(s.budget_cap_cents, r.actual_cost_cents + r.reserved_cost_cents)
  FROM collection.collection_settings s
 WHERE s.org_id = r.org_id AND r.id = ANY(%s)
"""
_WARN = "UPDATE collection.collection_runs SET warned_at = statement_timestamp() WHERE id = ANY(%s)"
_PAUSE = """
UPDATE collection.collection_runs
   SET status = 'paused', paused_at = statement_timestamp(), pause_reason = %s
 WHERE id = ANY(%s) AND status = 'running'
RETURNING id, org_id, actual_cost_cents AS spent, budget_cap_cents AS cap
"""
_ENDED: LiteralString = """
RETURNING r.id, r.org_id, r.status, r.total_items, r.processed_items, r.failed_items, r.actual_cost_cents,
          r.overrun_cents
"""
_FINISH: LiteralString = f"""
UPDATE collection.collection_runs r SET status = 'completed', completed_at = statement_timestamp()
 WHERE r.id = ANY(%s) AND r.status = 'running' AND r.processed_items + r.failed_items = r.total_items
   AND NOT EXISTS (SELECT FROM collection.collection_pages p
                    WHERE p.run_id = r.id AND p.status IN ('pending', 'processing'))
{_ENDED}"""  # noqa: S608 - a constant
_FAIL: LiteralString = f"""
UPDATE collection.collection_runs r
   SET status = 'failed', completed_at = statement_timestamp(), error_code = said.error_code,
       error_message = said.error_message
  FROM jsonb_to_recordset(%s::jsonb) AS said (run_id uuid, error_code text, error_message text)
 WHERE r.id = said.run_id AND r.status = 'running'
{_ENDED}"""  # noqa: S608 - a constant

DEFAULT_WARNING_PERCENT = 80


@dataclass(frozen=True, slots=True)
class Entry:
    """What changes in a run's books: cents charged and reservations released, new items, categories' checkpoints.

    `processed` and `failed`: of the new items, those with a result.
    """

    run_id: UUID
    charged: int
    released: int
    found: int
    processed: int
    failed: int
    checkpoint: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Booked:
    """A run after an entry. `must_warn`: this entry crossed the line of the warning."""

    id: UUID
    spent: int
    overrun: int
    cap: int
    must_warn: bool
    must_shrink: bool


@dataclass(frozen=True, slots=True)
class _Paused:
    id: UUID
    org_id: UUID
    spent: int
    cap: int


@dataclass(frozen=True, slots=True)
class _Ended:
    id: UUID
    org_id: UUID
    status: Any
    total_items: int
    processed_items: int
    failed_items: int
    actual_cost_cents: int
    overrun_cents: int


def reserve(connection: Connection, page_ids: Sequence[UUID]) -> set[UUID]:
    """Reserve the prices of locked, pending pages of locked runs, and begin those pages. Returns their ids.

    Leaves out the pages whose prices do not fit their run's cap, and the pages of runs that are not running.
    """
    if not page_ids:
        return set()
    return set(connection.cursor(row_factory=scalar_row).execute(_RESERVE, [list(page_ids)]))


def book(connection: Connection, entries: Sequence[Entry]) -> dict[UUID, Booked]:
    """Book charges and release reservations of locked runs, also of runs that are paused or have ended.

    Returns the runs by id. Also lowers a cap that had to wait for reservations.
    """
    text = to_json(entries).decode()
    cursor = connection.cursor(row_factory=class_row(Booked))
    booked = {one.id: one for one in cursor.execute(_BOOK, [text, DEFAULT_WARNING_PERCENT])}
    if shrinking := [one.id for one in booked.values() if one.must_shrink]:
        connection.execute(_SHRINK, [shrinking])
    return booked


def warn(context: HandlerContext, crossed: Collection[Booked], causes: Causes) -> list[Event[Any]]:
    """Mark locked runs as warned. Returns the warnings to publish."""
    if not crossed:
        return []
    context.connection.execute(_WARN, [[one.id for one in crossed]])
    return [
        causes[one.id].follow(BudgetWarned(run_id=one.id, spent_cents=one.spent, cap_cents=one.cap), context.now)
        for one in crossed
    ]


def pause(
    context: HandlerContext, run_ids: Collection[UUID], reason: PauseReason, causes: Causes | None = None
) -> list[Event[Any]]:
    """Pause those of some locked runs that are running. Returns the events to publish."""
    if not run_ids:
        return []
    cursor = context.connection.cursor(row_factory=class_row(_Paused))
    paused = cursor.execute(_PAUSE, [reason, sorted(run_ids)]).fetchall()
    return [
        say(
            RunPaused(run_id=one.id, reason=reason, spent_cents=one.spent, cap_cents=one.cap),
            context.now,
            run_id=one.id,
            org_id=one.org_id,
            cause=(causes or {}).get(one.id),
        )
        for one in paused
    ]


def finish(context: HandlerContext, run_ids: Collection[UUID], causes: Causes | None = None) -> list[Event[Any]]:
    """Complete those of some locked runs that are running and have no open page or item. Returns the events."""
    if not run_ids:
        return []
    cursor = context.connection.cursor(row_factory=class_row(_Ended))
    return [ended(context, one, causes) for one in cursor.execute(_FINISH, [sorted(run_ids)]).fetchall()]


def fail(
    context: HandlerContext, reasons: Mapping[UUID, tuple[str, str | None]], causes: Causes | None = None
) -> list[Event[Any]]:
    """End locked, running runs as failed. `reasons`: error code and message by run. Returns the events to publish."""
    if not reasons:
        return []
    said = [{"run_id": run, "error_code": code, "error_message": text} for run, (code, text) in reasons.items()]
    cursor = context.connection.cursor(row_factory=class_row(_Ended))
    return [ended(context, one, causes) for one in cursor.execute(_FAIL, [to_json(said).decode()]).fetchall()]


def ended(context: HandlerContext, run: Any, causes: Causes | None = None) -> Event[Any]:
    """Return the event of a run's end. Its id depends on the run alone, so that it counts once."""
    said = JobCompleted(
        run_id=run.id,
        status=run.status,
        total_items=run.total_items,
        processed_items=run.processed_items,
        failed_items=run.failed_items,
        actual_cost_cents=run.actual_cost_cents,
        overrun_cents=run.overrun_cents,
    )
    cause = (causes or {}).get(run.id)
    event_id = uuid5(run.id, JobCompleted.type)
    return say(said, context.now, run_id=run.id, org_id=run.org_id, cause=cause, event_id=event_id)
