"""SQL of collection runs: insert, read and lock them, and the transitions that are not the budget's.

`budget` pauses, completes and fails runs. Each transition is a conditional UPDATE.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from app.collection import rules
from app.collection.rules import RunStatus
from app.context import Connection, Context
from events.collection import PauseReason


@dataclass(frozen=True, slots=True)
class Run:
    """A collection run: its row. Amounts are in cents."""

    id: UUID
    org_id: UUID
    name: str
    marketplace: str
    status: RunStatus
    estimated_cost_cents: int
    actual_cost_cents: int
    reserved_cost_cents: int
    overrun_cents: int
    budget_cap_cents: int
    cap_override_cents: int | None
    total_items: int
    processed_items: int
    failed_items: int
    checkpoint: Mapping[str, Any]
    category_ids: Sequence[str]
    estimate: Mapping[str, Mapping[str, int]]
    unwanted: Sequence[str]
    pause_reason: PauseReason | None
    error_code: str | None
    error_message: str | None
    changed_by: str | None
    idempotency_key: str | None
    request_fingerprint: str | None
    warned_at: datetime | None
    started_at: datetime | None
    paused_at: datetime | None
    completed_at: datetime | None
    created_by: UUID
    created_at: datetime
    updated_at: datetime

    @property
    def is_waiting(self) -> bool:
        """Whether the run starts by itself when fewer runs of its organisation are running."""
        return self.status == "pending" or self.pause_reason == "place"


COLUMNS: LiteralString = """
r.id, r.org_id, r.name, r.marketplace, r.status, r.estimated_cost_cents, r.actual_cost_cents, r.reserved_cost_cents,
r.overrun_cents, r.budget_cap_cents, r.cap_override_cents, r.total_items, r.processed_items, r.failed_items,
r.checkpoint, r.category_ids, r.estimate, r.unwanted, r.pause_reason, r.error_code, r.error_message, r.changed_by,
r.idempotency_key, r.request_fingerprint, r.warned_at, r.started_at, r.paused_at, r.completed_at, r.created_by,
r.created_at, r.updated_at
"""
_FROM: LiteralString = f"SELECT {COLUMNS} FROM collection.collection_runs r"  # noqa: S608 - a constant
_INSERT: LiteralString = f"""
INSERT INTO collection.collection_runs AS r
       (id, org_id, name, marketplace, estimated_cost_cents, budget_cap_cents, cap_override_cents, category_ids,
        estimate, unwanted, idempotency_key, request_fingerprint, created_by)
VALUES (%(id)s, %(org_id)s, %(name)s, %(marketplace)s, %(estimated_cost_cents)s, %(budget_cap_cents)s,
        %(cap_override_cents)s, %(category_ids)s, %(estimate)s, %(unwanted)s, %(idempotency_key)s,
        %(request_fingerprint)s, %(created_by)s)
    ON CONFLICT (org_id, idempotency_key) DO NOTHING
RETURNING {COLUMNS}
"""  # noqa: S608 - a constant
_BY_KEY: LiteralString = f"{_FROM} WHERE r.org_id = %s AND r.idempotency_key = %s"
_BY_ID: LiteralString = f"{_FROM} WHERE r.org_id = %s AND r.id = %s"
_LOCK_ONE: LiteralString = f"{_BY_ID} FOR NO KEY UPDATE"
_ANY: LiteralString = f"{_FROM} WHERE r.id = %s"
_ANY_OF: LiteralString = f"{_FROM} WHERE r.id = ANY(%s)"
_LOCK: LiteralString = f"{_FROM} WHERE r.id = ANY(%s) ORDER BY r.id FOR NO KEY UPDATE"
_LIST: LiteralString = f"""{_FROM}
 WHERE r.org_id = %(org)s AND (%(status)s::text IS NULL OR r.status = %(status)s)
   AND (%(before)s::uuid IS NULL
        OR (r.created_at, r.id) < (SELECT b.created_at, b.id FROM collection.collection_runs b
                                    WHERE b.id = %(before)s AND b.org_id = %(org)s))
 ORDER BY r.created_at DESC, r.id DESC
 LIMIT %(limit)s
"""  # noqa: S608 - a constant
# A cap is never less than what is spent and reserved, because the price of a call that has begun is not taken back.
_START = """
UPDATE collection.collection_runs r
   SET status = 'running', started_at = coalesce(r.started_at, statement_timestamp()), paused_at = NULL,
       pause_reason = NULL,
       budget_cap_cents = greatest(
           coalesce(r.cap_override_cents,
                    (SELECT s.budget_cap_cents FROM collection.collection_settings s WHERE s.org_id = r.org_id),
                    %(cap)s),
           r.actual_cost_cents + r.reserved_cost_cents)
 WHERE r.id = ANY(%(ids)s) AND (r.status = 'pending' OR (r.status = 'paused' AND r.pause_reason = 'place'))
RETURNING r.id
"""
_RESUME = """
UPDATE collection.collection_runs
   SET pause_reason = 'place', changed_by = %(actor)s
 WHERE id = ANY(%(ids)s) AND status = 'paused' AND pause_reason <> 'place'
"""
_HOLD = """
UPDATE collection.collection_runs SET pause_reason = 'user', changed_by = %(actor)s
 WHERE id = %(id)s AND status = 'paused' AND pause_reason = 'place'
"""
_SET_AUTHOR = "UPDATE collection.collection_runs SET changed_by = %s WHERE id = ANY(%s)"
_CANCEL: LiteralString = f"""
UPDATE collection.collection_runs r
   SET status = 'cancelled', completed_at = statement_timestamp(), paused_at = NULL, pause_reason = NULL,
       changed_by = %(actor)s
 WHERE r.id = %(id)s AND r.status IN ('pending', 'running', 'paused')
RETURNING {COLUMNS}
"""  # noqa: S608 - a constant
_OWNERS = "SELECT id, org_id FROM collection.collection_runs WHERE id = ANY(%s)"
_TODAY = """
SELECT (now() AT TIME ZONE coalesce(
    (SELECT w.timezone FROM tenancy.workspaces w WHERE w.org_id = %s ORDER BY w.created_at, w.id LIMIT 1),
    'America/Bogota'))::date
"""
_USER = "SELECT EXISTS (SELECT FROM auth.users WHERE id = %s)"


def insert_run(context: Context, values: Mapping[str, Any]) -> Run | None:
    """Insert a pending run and return it; None if its idempotency key is taken. Waits for a transaction with the key.

    `values`: the columns that a request determines, with `estimate` as a dictionary.
    """
    return _run(
        context.connection, _INSERT, {**values, "org_id": context.tenant_id, "estimate": Jsonb(values["estimate"])}
    )


def run_by_key(context: Context, key: str) -> Run | None:
    """Return the organisation's run with this idempotency key, or None."""
    return _run(context.connection, _BY_KEY, [context.tenant_id, key])


def run_by_id(context: Context, run_id: UUID) -> Run | None:
    """Return the organisation's run with this id, or None."""
    return _run(context.connection, _BY_ID, [context.tenant_id, run_id])


def lock_run(context: Context, run_id: UUID) -> Run | None:
    """Lock the organisation's run with this id until the transaction ends, and return it; None if there is none."""
    return _run(context.connection, _LOCK_ONE, [context.tenant_id, run_id])


def any_run(connection: Connection, run_id: UUID) -> Run | None:
    """Return a run of any organisation, for operators, or None."""
    return _run(connection, _ANY, [run_id])


async def read_runs(connection: psycopg.AsyncConnection[Any], run_ids: Sequence[UUID]) -> list[Run]:
    """Return runs of any organisation. Ids without a run are left out."""
    cursor = connection.cursor(row_factory=class_row(Run))
    await cursor.execute(_ANY_OF, [list(run_ids)])
    return await cursor.fetchall()


def lock_runs(connection: Connection, run_ids: Iterable[UUID]) -> list[Run]:
    """Lock runs in the order of their ids and return them. Ids without a run are left out."""
    ids = sorted(set(run_ids))
    if not ids:  # most deliveries lock no run: one round trip less
        return []
    return connection.cursor(row_factory=class_row(Run)).execute(_LOCK, [ids]).fetchall()


def select_runs(context: Context, *, status: str | None, before: UUID | None, limit: int) -> list[Run]:
    """Return the organisation's runs, newest first."""
    wanted = {"org": context.tenant_id, "status": status, "before": before, "limit": limit}
    return context.connection.cursor(row_factory=class_row(Run)).execute(_LIST, wanted).fetchall()


def start(connection: Connection, run_ids: Iterable[UUID]) -> list[UUID]:
    """Start or continue locked runs that wait, with the current cap. Returns their ids.

    Call this only with the places of their organisations locked.
    """
    wanted = {"ids": list(run_ids), "cap": rules.CAP_CENTS}
    return connection.cursor(row_factory=scalar_row).execute(_START, wanted).fetchall()


def resume(connection: Connection, run_ids: Iterable[UUID], actor: str) -> None:
    """Let locked, paused runs wait for a place."""
    connection.execute(_RESUME, {"ids": list(run_ids), "actor": actor})


def hold(connection: Connection, run_id: UUID, actor: str) -> None:
    """Pause a locked run that waits for a place, so that it does not continue by itself."""
    connection.execute(_HOLD, {"id": run_id, "actor": actor})


def set_author(connection: Connection, run_ids: Iterable[UUID], actor: str) -> None:
    """Record who changed locked runs."""
    connection.execute(_SET_AUTHOR, [actor, list(run_ids)])


def cancel(connection: Connection, run_id: UUID, actor: str) -> Run | None:
    """Cancel a locked run that has not ended. Returns it, or None if it has ended."""
    return _run(connection, _CANCEL, {"id": run_id, "actor": actor})


def owners(connection: Connection, run_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Return the organisations of runs, by the run's id."""
    return dict(connection.execute(_OWNERS, [list(run_ids)]).fetchall())


def today(context: Context) -> date:
    """Return the current date in the time zone of the organisation's first workspace."""
    found: date | None = (
        context.connection.cursor(row_factory=scalar_row).execute(_TODAY, [context.tenant_id]).fetchone()
    )
    if found is None:
        raise AssertionError("a SELECT without FROM returns one row")
    return found


def is_user(connection: Connection, user_id: UUID) -> bool:
    """Whether a user with this id exists."""
    return bool(connection.cursor(row_factory=scalar_row).execute(_USER, [user_id]).fetchone())


def _run(connection: Connection, statement: LiteralString, values: Any) -> Run | None:
    return connection.cursor(row_factory=class_row(Run)).execute(statement, values).fetchone()
