"""Audit: check invariants. Each invariant is a query that must return no row.

This module has the engine's invariants; a domain declares its own in `Parts.invariants`. All queries read one snapshot.
The invariants hold at every commit, so the audit can run at any time on a live system.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import IsolationLevel, sql
from psycopg.rows import dict_row

from app.context import Connection
from app.engine.domain import Invariant

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one invariant: the number of rows that violate it, and the first 20 of them."""

    name: str
    violations: int
    rows: list[dict[str, Any]]

    @property
    def holds(self) -> bool:
        """Whether no row violates the invariant."""
        return self.violations == 0


ENGINE = (
    Invariant(
        "no event is applied and dead",
        """
        SELECT f.id AS dead_letter, f.event_id FROM engine.failed_jobs f JOIN engine.event_log l USING (event_id)
         WHERE f.resolved_at IS NULL
        """,
    ),
    Invariant(
        "no event is dead twice",
        """
        SELECT event_id, count(*) AS letters FROM engine.failed_jobs
         WHERE resolved_at IS NULL AND event_id IS NOT NULL GROUP BY event_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "no outside call is under way that is recorded already",
        "SELECT c.event_id FROM engine.calls c JOIN engine.event_log l USING (event_id)",
    ),
    Invariant(
        "no delivery runs for longer than a day",
        """
        SELECT j.row_id, j.queue_name, e.at AS started_at FROM engine.waiting() j
          JOIN public.procrastinate_events e ON e.job_id = j.row_id AND e.type = 'started'
         WHERE j.status = 'doing'
           AND NOT EXISTS (SELECT FROM public.procrastinate_events later WHERE later.job_id = j.row_id
                              AND later.type = 'started' AND later.at > now() - interval '1 day')
        """,
    ),
)


def audit(connection: Connection, invariants: Iterable[Invariant]) -> list[Verdict]:
    """Check all invariants in one read-only snapshot. Returns a verdict for each, in order.

    The connection must be outside a transaction. Each query may take 30 minutes.
    """
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    try:
        with connection.transaction():
            connection.execute("SET LOCAL statement_timeout = '30min'")
            return [_check(connection, invariant) for invariant in invariants]
    finally:
        connection.isolation_level = None
        connection.read_only = None


def all_hold(connection: Connection, invariants: Iterable[Invariant]) -> bool:
    """Return whether no invariant is violated, in one statement. `audit` names those that are."""
    found = [sql.SQL("SELECT WHERE EXISTS ({})").format(_statement(one)) for one in invariants]
    if not found:
        return True
    return connection.execute(sql.SQL(" UNION ALL ").join(found)).fetchone() is None


def _statement(invariant: Invariant) -> sql.Composable:
    return invariant.statement if isinstance(invariant.statement, sql.Composed) else sql.SQL(invariant.statement)


def _check(connection: Connection, invariant: Invariant) -> Verdict:
    # Count in the database, so that an invariant with a million violations does not fetch them all.
    query = sql.SQL("SELECT count(*) OVER () AS violations, broken.* FROM ({}) AS broken LIMIT {}").format(
        _statement(invariant), _NAMED
    )
    rows = connection.cursor(row_factory=dict_row).execute(query).fetchall()
    violations = rows[0]["violations"] if rows else 0
    named = [{name: value for name, value in row.items() if name != "violations"} for row in rows]
    return Verdict(invariant.name, violations, named)
