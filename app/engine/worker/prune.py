"""Prune: delete rows that are past their retention time, in batches, so that no lock is held for long.

Each batch is its own transaction, and skips rows that another session has locked. Never deleted: unresolved dead
letters; failed queue rows (the sweep turns them into dead letters); the mark of a call whose event is dead, because a
replay must know that the call may have happened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from psycopg import sql

from app.context import Connection
from app.engine.domain import wiring
from app.engine.queue import delayed, ordering
from app.engine.retention import Rule
from app.settings import settings

log = structlog.get_logger(__name__)

_BATCH = 5_000

_COUNT = sql.SQL("SELECT count(*) FROM {table} old WHERE {condition}")
# The batch as an array, which is evaluated once: a subquery might run again and find other rows.
_DROP = sql.SQL("""
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT old.ctid FROM {table} old WHERE {condition} LIMIT %(batch)s FOR UPDATE OF old SKIP LOCKED))
""")


_LEFT_IN_LINE = Rule("engine", "sequence", "EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = old.event_id)")
"""Deleting these may requeue held events: `ordering.sweep` does it."""
_RULES = (
    # Before the dead letters that it reads.
    Rule(
        "engine",
        "calls",
        """NOT engine.is_live(old.row_id, old.attempts, old.worker_id)
           AND (EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = old.event_id)
                OR (EXISTS (SELECT FROM engine.failed_jobs f WHERE f.event_id = old.event_id
                               AND f.resolved_at < now() - %(days)s * interval '1 day')
                    AND NOT EXISTS (SELECT FROM engine.failed_jobs f
                                     WHERE f.event_id = old.event_id AND f.resolved_at IS NULL)))""",
        lambda given: given.resolved_days,
    ),
    Rule(
        "engine", "event_log", "old.applied_at < now() - %(days)s * interval '1 day'", lambda given: given.ledger_days
    ),
    Rule(
        "engine",
        "failed_jobs",
        "old.resolved_at < now() - %(days)s * interval '1 day'",
        lambda given: given.resolved_days,
    ),
    Rule(
        "engine",
        "event_rescues",
        """(old.last_at < now() - %(days)s * interval '1 day'
            OR EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = old.event_id))""",
        lambda given: given.resolved_days,
    ),
    Rule(
        "engine",
        "replay_plan_letters",
        """old.plan_id IN (SELECT p.id FROM engine.replay_plans p WHERE p.expired_at IS NOT NULL
                              OR p.last_used_at < now() - %(days)s * interval '1 day')""",
        lambda given: given.plan_days,
    ),
    Rule(
        "engine",
        "replay_plans",
        """(old.expired_at IS NOT NULL OR old.last_used_at < now() - %(days)s * interval '1 day')""",
        lambda given: given.plan_days,
    ),
    Rule("engine", "rescues", "old.at < now() - %(days)s * interval '1 day'", lambda given: given.resolved_days),
    Rule(
        "public",
        "procrastinate_jobs",
        """old.status IN ('succeeded', 'cancelled', 'aborted')
           AND engine.is_ours(old.task_name, old.queue_name, %(queues)s)
           AND NOT EXISTS (SELECT FROM public.procrastinate_events e
                            WHERE e.job_id = old.id AND e.at >= now() - %(days)s * interval '1 day')""",
        lambda given: given.finished_days,
    ),
    Rule(
        "engine",
        "parked",
        "NOT EXISTS (SELECT FROM public.procrastinate_jobs j WHERE j.id = old.row_id AND j.status = 'todo')",
    ),
    Rule("engine", "rests", "old.until < now() - interval '1 day'"),
    Rule("engine", "slots", "NOT engine.is_taken(old.row_id, old.attempts, old.worker_id, old.reserved_until)"),
)

_ACTIONS = Rule(
    "engine",
    "actions",
    "old.at < now() - greatest(%(days)s, 365) * interval '1 day'",
    lambda given: given.actions_days,
)
"""Only a function of the database may delete these, and none of the last 365 days."""
_DROP_ACTIONS = "SELECT engine.prune_actions(%(days)s, %(batch)s)"
# Before the letters of a plan are deleted, so that a partly deleted plan cannot be replayed.
_EXPIRE_PLANS = """
UPDATE engine.replay_plans SET expired_at = now()
 WHERE expired_at IS NULL AND last_used_at < now() - %s * interval '1 day'
"""
_CROWDS = """
SELECT tenant_id, count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL
 GROUP BY tenant_id HAVING count(*) > %s ORDER BY count(*) DESC
"""


def prune(connection: Connection, *, older_than: float | None = None) -> dict[str, int]:
    """Delete rows that are past their retention time. Returns the number of deleted rows by table.

    Retention times are in the settings, in days; `older_than` (days) replaces all of them. The audit log is kept for at
    least 365 days. Logs tenants with too many dead letters. Moves rows that an older version scheduled in the queue to
    `engine.delayed`. The connection must be outside a transaction.
    """
    moved = _in_batches(connection, lambda: delayed.take_scheduled(connection, _BATCH))
    if moved:
        log.info("moved rows that an older version scheduled in the queue", rows=moved)
    gone = {_LEFT_IN_LINE.table: _in_batches(connection, lambda: ordering.sweep(connection, _BATCH))}
    gone[_ACTIONS.table] = _in_batches(connection, lambda: _drop_actions(connection, older_than))
    _expire_plans(connection, older_than)
    for rule in (*_RULES, *wiring().retention):
        drop = partial(_drop, connection, rule, older_than)
        gone[rule.table] = _in_batches(connection, drop)
    if any(gone.values()):
        log.info("pruned", **gone)
    for tenant, letters in crowds(connection):
        log.warning(
            "too many dead letters", tenant=str(tenant), letters=letters, limit=settings().dead_letters_a_tenant
        )
    return gone


def count_prunable(connection: Connection, *, older_than: float | None = None) -> dict[str, int]:
    """Return how many rows of each table `prune` would delete now."""
    with connection.transaction():
        rules = (_LEFT_IN_LINE, _ACTIONS, *_RULES, *wiring().retention)
        return {rule.table: _count(connection, rule, older_than) for rule in rules}


def crowds(connection: Connection) -> list[tuple[UUID | None, int]]:
    """Return tenants with more unresolved dead letters than the settings allow, and their number, most first.

    Such dead letters are never deleted. An admin decides.
    """
    with connection.transaction():
        return connection.execute(_CROWDS, [settings().dead_letters_a_tenant]).fetchall()


def _wanted(rule: Rule, older_than: float | None) -> dict[str, Any]:
    return {"days": rule.days(settings()) if older_than is None else older_than, "queues": wiring().queues()}


def _drop(connection: Connection, rule: Rule, older_than: float | None) -> int:
    return connection.execute(rule.fill(_DROP), {**_wanted(rule, older_than), "batch": _BATCH}).rowcount


def _drop_actions(connection: Connection, older_than: float | None) -> int:
    row = connection.execute(_DROP_ACTIONS, {**_wanted(_ACTIONS, older_than), "batch": _BATCH}).fetchone()
    return int(row[0]) if row else 0


def _expire_plans(connection: Connection, older_than: float | None) -> None:
    days = settings().plan_days if older_than is None else older_than
    with connection.transaction():
        connection.execute(_EXPIRE_PLANS, [days])


def _count(connection: Connection, rule: Rule, older_than: float | None) -> int:
    row = connection.execute(rule.fill(_COUNT), _wanted(rule, older_than)).fetchone()
    return int(row[0]) if row else 0


def _in_batches(connection: Connection, drop: Callable[[], int]) -> int:
    gone = 0
    while True:
        with connection.transaction():
            count = drop()
        gone += count
        if count < _BATCH:
            return gone
