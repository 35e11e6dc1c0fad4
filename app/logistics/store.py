"""Robot jobs and their items in the database: each statement beside the typed function that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row

from app.context import Connection, Context
from app.engine.batches.tables import JobTable
from app.logistics.rules import ItemStatus, JobStatus

ROBOT_JOBS = JobTable(schema="logistics", jobs="robot_jobs")


@dataclass(frozen=True, slots=True)
class RobotJob:
    """One batch of orders for one carrier."""

    id: UUID
    workspace_id: UUID
    carrier: str
    status: JobStatus
    total_items: int
    success_count: int
    error_count: int
    idempotency_key: str | None
    generation: int
    request_fingerprint: str | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RobotJobItem:
    """One order in a batch, with the order's own reference."""

    id: UUID
    job_id: UUID
    order_id: UUID
    order_reference: str
    status: ItemStatus
    tracking_number: str | None
    validated_city: str | None
    value_sent: dict[str, Any] | None
    error_type: str | None
    error_message: str | None
    retry_count: int
    last_retry_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ItemState:
    """Where an item stands, and whose it is."""

    id: UUID
    job_id: UUID
    workspace_id: UUID
    order_id: UUID
    status: ItemStatus
    retry_count: int


_JOB = """id, workspace_id, carrier, status, total_items, success_count, error_count, idempotency_key, generation,
       request_fingerprint, started_at, completed_at, created_at, updated_at"""

_INSERT_JOB = """
INSERT INTO logistics.robot_jobs (id, workspace_id, carrier, total_items, idempotency_key, request_fingerprint)
VALUES (%(id)s, %(workspace_id)s, %(carrier)s, %(total)s, %(key)s, %(fingerprint)s)
ON CONFLICT (workspace_id, idempotency_key) DO NOTHING
RETURNING id, workspace_id, carrier, status, total_items, success_count, error_count, idempotency_key, generation,
          request_fingerprint, started_at, completed_at, created_at, updated_at
"""
_JOB_BY_KEY = f"SELECT {_JOB} FROM logistics.robot_jobs WHERE workspace_id = %s AND idempotency_key = %s"
_JOB_BY_ID = f"SELECT {_JOB} FROM logistics.robot_jobs WHERE workspace_id = %s AND id = %s"
_LOCK_JOB = f"SELECT {_JOB} FROM logistics.robot_jobs WHERE workspace_id = %s AND id = %s FOR UPDATE"
_LIST_JOBS = f"""
SELECT {_JOB} FROM logistics.robot_jobs
 WHERE workspace_id = %(workspace_id)s AND (%(status)s::text IS NULL OR status = %(status)s)
   AND (%(before)s::uuid IS NULL
        OR (created_at, id) < (SELECT created_at, id FROM logistics.robot_jobs WHERE id = %(before)s))
 ORDER BY created_at DESC, id DESC
 LIMIT %(limit)s
"""
_INSERT_ITEMS = """
INSERT INTO logistics.robot_job_items (id, job_id, order_id)
SELECT item.id, %s, item.order_id FROM unnest(%s::uuid[], %s::uuid[]) AS item (id, order_id)
"""
_ITEMS = """
SELECT i.id, i.job_id, i.order_id, o.reference AS order_reference, i.status, i.tracking_number, i.validated_city,
       i.value_sent, i.error_type, i.error_message, i.retry_count, i.last_retry_at, i.started_at, i.completed_at
  FROM logistics.robot_job_items i JOIN logistics.orders o ON o.id = i.order_id
 WHERE i.job_id = %(job_id)s AND (%(status)s::text IS NULL OR i.status = %(status)s)
   AND (%(after)s::uuid IS NULL OR i.id > %(after)s)
 ORDER BY i.id
 LIMIT %(limit)s
"""
_ERRORS = """
SELECT error_type, count(*) AS items FROM logistics.robot_job_items
 WHERE job_id = %s AND status = 'error' GROUP BY error_type ORDER BY count(*) DESC, error_type
"""
_LOCK_ITEMS = """
SELECT i.id, i.job_id, j.workspace_id, i.order_id, i.status, i.retry_count
  FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.id = ANY(%s)
 ORDER BY i.id
   FOR UPDATE OF i
"""
_LOCK_FAILED = """
SELECT id FROM logistics.robot_job_items WHERE job_id = %s AND status = 'error' ORDER BY id FOR UPDATE
"""
_SET_STATUS = """
UPDATE logistics.robot_jobs
   SET status = %(status)s,
       started_at = CASE WHEN %(status)s = 'pending' THEN started_at
                         ELSE coalesce(started_at, statement_timestamp()) END,
       completed_at = CASE WHEN %(status)s IN ('completed', 'failed') THEN statement_timestamp() END
 WHERE id = ANY(%(ids)s)
"""
_RESET_ITEMS = """
UPDATE logistics.robot_job_items
   SET status = 'pending', retry_count = retry_count + 1, last_retry_at = statement_timestamp(), error_type = NULL,
       error_message = NULL, started_at = NULL, completed_at = NULL
 WHERE id = ANY(%(ids)s)
"""
_NEXT_GENERATION = """
UPDATE logistics.robot_jobs
   SET status = 'processing', started_at = coalesce(started_at, statement_timestamp()), completed_at = NULL,
       generation = generation + 1,
       -- A job that is cancelled and not done stays cancelled: calls of it may be under way.
       cancelled_at = CASE WHEN completed_at IS NULL THEN cancelled_at END,
       cancelled_by = CASE WHEN completed_at IS NULL THEN cancelled_by END,
       cancel_reason = CASE WHEN completed_at IS NULL THEN cancel_reason END
 WHERE id = ANY(%(ids)s)
"""
_STATES = """
SELECT i.id, i.job_id, j.workspace_id, i.order_id, i.status, i.retry_count
  FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.id = ANY(%s)
"""
_PENDING = """
SELECT id, order_id, retry_count FROM logistics.robot_job_items
 WHERE job_id = %(job_id)s AND status = 'pending' AND (%(only)s::uuid[] IS NULL OR id = ANY(%(only)s))
   AND (%(after)s::uuid IS NULL OR id > %(after)s)
 ORDER BY id
 LIMIT %(limit)s
"""


def insert_job(
    context: Context, job_id: UUID, carrier: str, total: int, key: str | None, fingerprint: str
) -> RobotJob | None:
    """A new job, or None when its idempotency key is taken; waits for a transaction that is about to take it."""
    values = {"id": job_id, "workspace_id": context.tenant_id, "carrier": carrier}
    return _jobs(context.connection, _INSERT_JOB, {**values, "total": total, "key": key, "fingerprint": fingerprint})


def job_by_key(context: Context, key: str) -> RobotJob | None:
    """The workspace's job with this idempotency key."""
    return _jobs(context.connection, _JOB_BY_KEY, [context.tenant_id, key])


def job_by_id(context: Context, job_id: UUID) -> RobotJob | None:
    """The workspace's job with this id."""
    return _jobs(context.connection, _JOB_BY_ID, [context.tenant_id, job_id])


def lock_job(context: Context, job_id: UUID) -> RobotJob | None:
    """The workspace's job with this id, locked until the transaction ends."""
    return _jobs(context.connection, _LOCK_JOB, [context.tenant_id, job_id])


def select_jobs(context: Context, status: str | None, before: UUID | None, limit: int) -> list[RobotJob]:
    """The workspace's jobs, newest first."""
    wanted = {"workspace_id": context.tenant_id, "status": status, "before": before, "limit": limit}
    return context.connection.cursor(row_factory=class_row(RobotJob)).execute(_LIST_JOBS, wanted).fetchall()


def insert_items(context: Context, job_id: UUID, item_ids: Sequence[UUID], order_ids: Sequence[UUID]) -> None:
    """An item for each order, in one statement."""
    context.connection.execute(_INSERT_ITEMS, [job_id, list(item_ids), list(order_ids)])


def select_items(
    connection: Connection, job_id: UUID, *, status: str | None, after: UUID | None, limit: int
) -> list[RobotJobItem]:
    """A page of a job's items, in the order of their ids, which is the order in which they were submitted."""
    wanted = {"job_id": job_id, "status": status, "after": after, "limit": limit}
    return connection.cursor(row_factory=class_row(RobotJobItem)).execute(_ITEMS, wanted).fetchall()


def count_errors(connection: Connection, job_id: UUID) -> dict[str, int]:
    """How many of a job's items failed, by the type of error, most first."""
    rows = connection.cursor(row_factory=dict_row).execute(_ERRORS, [job_id])
    return {row["error_type"]: row["items"] for row in rows}


def item_states(connection: Connection, item_ids: Sequence[UUID]) -> dict[UUID, ItemState]:
    """Items by id, not locked; those that do not exist are not there."""
    rows = connection.cursor(row_factory=class_row(ItemState)).execute(_STATES, [list(item_ids)])
    return {row.id: row for row in rows}


def lock_items(connection: Connection, item_ids: Sequence[UUID]) -> dict[UUID, ItemState]:
    """Items by id, locked in the order of their ids; those that do not exist are not there."""
    rows = connection.cursor(row_factory=class_row(ItemState)).execute(_LOCK_ITEMS, [list(item_ids)])
    return {row.id: row for row in rows}


def lock_failed_items(connection: Connection, job_id: UUID) -> list[UUID]:
    """The ids of a job's failed items, locked."""
    return [item_id for (item_id,) in connection.execute(_LOCK_FAILED, [job_id])]


def set_status(connection: Connection, job_ids: Sequence[UUID], status: JobStatus) -> None:
    """Set the status of locked jobs, and the timestamps that go with it."""
    connection.execute(_SET_STATUS, {"status": status, "ids": list(job_ids)})


def reset_items(connection: Connection, item_ids: Sequence[UUID]) -> None:
    """Put locked items back to pending, for their next attempt."""
    connection.execute(_RESET_ITEMS, {"ids": list(item_ids)})


def begin_generation(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Set locked jobs going again: each will complete once more."""
    connection.execute(_NEXT_GENERATION, {"ids": list(job_ids)})


def pending_items(
    connection: Connection, job_id: UUID, only: Sequence[UUID] | None, page: int
) -> Iterator[tuple[UUID, UUID, int]]:
    """Every pending item of a job as (id, order id, retry count), `page` of them held at a time."""
    after: UUID | None = None
    wanted = {"job_id": job_id, "only": None if only is None else list(only), "limit": page}
    while rows := connection.execute(_PENDING, {**wanted, "after": after}).fetchall():
        yield from rows
        after = rows[-1][0]


def _jobs(connection: Connection, statement: Any, parameters: Any) -> RobotJob | None:
    return connection.cursor(row_factory=class_row(RobotJob)).execute(statement, parameters).fetchone()
