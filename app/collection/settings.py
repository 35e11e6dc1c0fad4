"""Settings of an organisation's collection runs, and the consequences of a change for its runs, in one commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

import events
from app.collection import budget, places, rules, store, waking
from app.collection.store import Run
from app.context import Connection, Context
from app.engine import audit_log
from app.engine.queue.publish import publish
from events import Event
from events.collection import BudgetWarned, PauseReason


@dataclass(frozen=True, slots=True)
class Settings:
    """An organisation's settings; its defaults if nothing is set. `updated_at`: None if nothing is set."""

    budget_cap_cents: int = rules.CAP_CENTS
    soft_warning_percent: int = rules.WARNING_PERCENT
    max_concurrent_runs: int = rules.CONCURRENT_RUNS
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The settings after a change, the runs that it paused, and those that it woke, which may wait for a place."""

    settings: Settings
    paused: Sequence[UUID]
    woken: Sequence[UUID]


_GET = """
SELECT budget_cap_cents, soft_warning_percent, max_concurrent_runs, updated_at
  FROM collection.collection_settings WHERE org_id = %s
"""
_SET = """
INSERT INTO collection.collection_settings AS s (org_id, budget_cap_cents, soft_warning_percent, max_concurrent_runs)
VALUES (%(org)s, coalesce(%(cap)s, %(default_cap)s), coalesce(%(percent)s, %(default_percent)s),
        coalesce(%(runs)s, %(default_runs)s))
    ON CONFLICT (org_id) DO UPDATE
   SET budget_cap_cents = coalesce(%(cap)s, s.budget_cap_cents),
       soft_warning_percent = coalesce(%(percent)s, s.soft_warning_percent),
       max_concurrent_runs = coalesce(%(runs)s, s.max_concurrent_runs)
RETURNING s.budget_cap_cents, s.soft_warning_percent, s.max_concurrent_runs, s.updated_at
"""
# A cap is never less than what is spent and reserved: it shrinks when the reserved pages are settled.
_SET_CAPS = """
UPDATE collection.collection_runs r
   SET overrun_cents = r.overrun_cents - booked.cents, actual_cost_cents = r.actual_cost_cents + booked.cents,
       budget_cap_cents = greatest(%(cap)s, r.actual_cost_cents + r.reserved_cost_cents + booked.cents)
  FROM (SELECT own.id, least(own.overrun_cents,
                             greatest(0, %(cap)s - own.actual_cost_cents - own.reserved_cost_cents)) AS cents
          FROM collection.collection_runs own WHERE own.id = ANY(%(ids)s)) booked
 WHERE r.id = booked.id
"""
_ABOVE = """
SELECT id FROM collection.collection_runs
 WHERE id = ANY(%(ids)s) AND status = 'running' AND actual_cost_cents + overrun_cents > %(cap)s
"""
_WARN = """
UPDATE collection.collection_runs r SET warned_at = statement_timestamp()
 WHERE r.id = ANY(%(ids)s) AND r.warned_at IS NULL AND r.actual_cost_cents > 0
   AND r.actual_cost_cents::bigint * 100 >= r.budget_cap_cents::bigint * coalesce(
       (SELECT s.soft_warning_percent FROM collection.collection_settings s WHERE s.org_id = r.org_id), %(percent)s)
RETURNING r.id AS run_id, r.actual_cost_cents AS spent_cents, r.budget_cap_cents AS cap_cents
"""
_EXCESS = """
SELECT id FROM collection.collection_runs WHERE org_id = %s AND status = 'running' ORDER BY created_at, id OFFSET %s
"""


def get_settings(context: Context) -> Settings:
    """Return the organisation's settings, or the defaults."""
    found = context.connection.cursor(row_factory=class_row(Settings)).execute(_GET, [context.tenant_id]).fetchone()
    return found or Settings()


def set_settings(
    context: Context,
    *,
    actor: str,
    budget_cap_cents: int | None = None,
    soft_warning_percent: int | None = None,
    max_concurrent_runs: int | None = None,
) -> SettingsChanged:
    """Change the organisation's settings and, in the same commit, its runs. Values that are None stay unchanged.

    A run with a cap of its own keeps it. Of the others, a lower cap pauses the runs that have spent more; a higher cap
    books overruns as far as they fit, and wakes the runs that were paused for the budget and have room now. A lower
    `max_concurrent_runs` lets the youngest running runs wait; a higher one starts waiting runs. `actor`: the admin or
    operator, for the audit log. Raises `InvalidInput` for a value out of range.
    """
    actor = audit_log.text("actor", actor)
    rules.check_settings(budget_cap_cents, soft_warning_percent, max_concurrent_runs)
    connection = context.connection
    with connection.transaction():
        places.lock(connection, [context.tenant_id])
        now = _write(context, budget_cap_cents, soft_warning_percent, max_concurrent_runs)
        open_runs = store.lock_open_runs(connection, context.tenant_id)
        paused: list[UUID] = []
        woken: list[UUID] = []
        if budget_cap_cents is not None:
            capped = [run for run in open_runs if run.cap_override_cents is None]
            paused, woken = _apply_cap(context, capped, budget_cap_cents, actor)
        paused += _pause(
            context, _ids(connection, _EXCESS, [context.tenant_id, now.max_concurrent_runs]), "place", actor
        )
        publish(connection, *_warnings(context, [run.id for run in open_runs]))
        publish(connection, *places.start_waiting(context, [context.tenant_id]))
        given = {"cap": budget_cap_cents, "percent": soft_warning_percent, "runs": max_concurrent_runs}
        audit_log.record(connection, actor, "set collection settings", subject=context.tenant_id, details=given)
    return SettingsChanged(now, paused, woken)


def _write(context: Context, cap: int | None, percent: int | None, most: int | None) -> Settings:
    values = {
        "org": context.tenant_id,
        "cap": cap,
        "percent": percent,
        "runs": most,
        "default_cap": rules.CAP_CENTS,
        "default_percent": rules.WARNING_PERCENT,
        "default_runs": rules.CONCURRENT_RUNS,
    }
    written = context.connection.cursor(row_factory=class_row(Settings)).execute(_SET, values).fetchone()
    if written is None:
        raise AssertionError("INSERT ... RETURNING returned nothing")
    return written


def _apply_cap(context: Context, capped: Sequence[Run], cap: int, actor: str) -> tuple[list[UUID], list[UUID]]:
    """Set the cap of locked runs. Returns the runs that this pauses, and those that it wakes."""
    connection = context.connection
    wanted = {"ids": [run.id for run in capped], "cap": cap}
    connection.execute(_SET_CAPS, wanted)
    paused = _pause(context, _ids(connection, _ABOVE, wanted), "budget", actor)
    raised = [run.id for run in capped if run.budget_cap_cents < cap]
    return paused, waking.wake(connection, raised, ("budget", "overrun"), actor=actor)


def _pause(context: Context, run_ids: list[UUID], reason: PauseReason, actor: str) -> list[UUID]:
    publish(context.connection, *budget.pause(context, run_ids, reason))
    store.set_author(context.connection, run_ids, actor)
    return run_ids


def _warnings(context: Context, run_ids: Sequence[UUID]) -> Iterator[Event[BudgetWarned]]:
    """Mark the runs that have spent the warning percentage of their cap. Yields a warning for each."""
    cursor = context.connection.cursor(row_factory=class_row(BudgetWarned))
    values = {"ids": list(run_ids), "percent": rules.WARNING_PERCENT}
    for said in cursor.execute(_WARN, values).fetchall():
        yield events.new(said, now=context.now, subject=said.run_id, tenant=context.tenant_id)


def _ids(connection: Connection, statement: LiteralString, values: Any) -> list[UUID]:
    return connection.cursor(row_factory=scalar_row).execute(statement, values).fetchall()
