"""SQL for jobs and items of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from pydantic_core import to_json

from app.context import Connection, Context
from app.engine.batches.rows import ItemState, ItemT, JobT
from app.engine.batches.rules import JobStatus
from app.engine.batches.statements import statement
from app.engine.batches.tables import Batch

_INSERT_JOB = """
INSERT INTO {jobs} (id, {tenant}, {total}, idempotency_key, request_fingerprint{request})
SELECT %(id)s, %(tenant)s, %(total)s, %(key)s, %(fingerprint)s{given_request}
  FROM jsonb_populate_record(NULL::{jobs}, %(request)s::jsonb) AS given
    ON CONFLICT ({tenant}, idempotency_key) DO NOTHING
RETURNING {job_columns}
"""
_JOB_BY_KEY = "SELECT {job_columns} FROM {jobs} WHERE {tenant} = %s AND idempotency_key = %s"
_JOB_BY_ID = "SELECT {job_columns} FROM {jobs} WHERE {tenant} = %s AND id = %s"
_LOCK_JOB = "SELECT {job_columns} FROM {jobs} WHERE {tenant} = %s AND id = %s FOR UPDATE"
_ANY_JOB = "SELECT {job_columns} FROM {jobs} WHERE id = %s"
_LIST_JOBS = """
SELECT {job_columns} FROM {jobs}
 WHERE {tenant} = %(tenant)s AND (%(status)s::text IS NULL OR status = %(status)s)
   AND (%(before)s::uuid IS NULL
        OR (created_at, id) < (SELECT created_at, id FROM {jobs} WHERE id = %(before)s))
 ORDER BY created_at DESC, id DESC
 LIMIT %(limit)s
"""
_INSERT_ITEMS = """
INSERT INTO {items} (id, {job_id}{about})
SELECT given.id, %s{given_about} FROM jsonb_populate_recordset(NULL::{items}, %s::jsonb) AS given
"""
_ITEMS = """
SELECT {item_columns} FROM {items} i
 WHERE i.{job_id} = %(job_id)s AND (%(status)s::text IS NULL OR i.{status}::text = %(status)s)
   AND (%(after)s::uuid IS NULL OR i.id > %(after)s)
 ORDER BY i.id
 LIMIT %(limit)s
"""
_ITEMS_BY_ID = "SELECT {item_columns} FROM {items} i WHERE i.id = ANY(%s)"
_ERRORS = """
SELECT error_type, count(*) FROM {items}
 WHERE {job_id} = %s AND {status} = {error} GROUP BY error_type ORDER BY count(*) DESC, error_type
"""
_STATES: LiteralString = """
SELECT i.id, i.{job_id}, j.{tenant}, i.{status}::text, i.retry_count{i_about}
  FROM {items} i JOIN {jobs} j ON j.id = i.{job_id}
"""
_BY_ID = _STATES + " WHERE i.id = ANY(%s)"
_LOCK_ITEMS = _STATES + " WHERE i.id = ANY(%s) ORDER BY i.id FOR UPDATE OF i"
_NOT_BEGUN = _STATES + " WHERE i.{job_id} = %s AND i.{status} = {pending} ORDER BY i.id LIMIT %s"
_LOCK_FAILED = "SELECT id FROM {items} WHERE {job_id} = %s AND {status} = {error} ORDER BY id FOR UPDATE"
_SET_STATUS = """
UPDATE {jobs}
   SET status = %(status)s,
       started_at = CASE WHEN %(status)s = 'pending' THEN started_at
                         ELSE coalesce(started_at, statement_timestamp()) END,
       completed_at = CASE WHEN %(status)s IN ('completed', 'failed') THEN statement_timestamp() END
 WHERE id = ANY(%(ids)s)
"""
_OWNERS = "SELECT id, {tenant}, status FROM {jobs} WHERE id = ANY(%s)"
_BEGIN = """
UPDATE {items} SET {status} = {processing}, started_at = coalesce(started_at, statement_timestamp())
 WHERE id = ANY(%s) AND {status} = {pending}
"""
_RESET_ITEMS = """
UPDATE {items}
   SET {status} = {pending}, retry_count = retry_count + 1, last_retry_at = statement_timestamp(), error_type = NULL,
       error_message = NULL, started_at = NULL, completed_at = NULL
 WHERE id = ANY(%(ids)s)
"""
_NEXT_GENERATION = """
UPDATE {jobs}
   SET status = 'processing', started_at = coalesce(started_at, statement_timestamp()), completed_at = NULL,
       generation = generation + 1,
       -- A job that is cancelled and not done stays cancelled: calls of it may be under way.
       cancelled_at = CASE WHEN completed_at IS NULL THEN cancelled_at END,
       cancelled_by = CASE WHEN completed_at IS NULL THEN cancelled_by END,
       cancel_reason = CASE WHEN completed_at IS NULL THEN cancel_reason END
 WHERE id = ANY(%(ids)s)
"""
_CANCEL = """
UPDATE {jobs}
   SET cancelled_at = statement_timestamp(), cancelled_by = %(actor)s, cancel_reason = %(reason)s
 WHERE id = %(id)s AND cancelled_at IS NULL
"""
_PENDING = """
SELECT i.id, i.retry_count{i_about} FROM {items} i
 WHERE i.{job_id} = %(job_id)s AND i.{status} = {pending} AND (%(only)s::uuid[] IS NULL OR i.id = ANY(%(only)s))
   AND (%(after)s::uuid IS NULL OR i.id > %(after)s)
 ORDER BY i.id
 LIMIT %(limit)s
"""

Any_ = Batch[Any, Any]
"""A batch with any row types."""


def insert_job(  # noqa: PLR0913 - a row's columns
    context: Context,
    batch: Batch[JobT, ItemT],
    job_id: UUID,
    *,
    total: int,
    request: Mapping[str, Any],
    key: str | None,
    fingerprint: str,
) -> JobT | None:
    """Insert a job and return it; None if its idempotency key is taken. Waits for a transaction that uses the key."""
    values = {"id": job_id, "tenant": context.tenant_id, "total": total, "key": key, "fingerprint": fingerprint}
    return _job(context.connection, batch, _INSERT_JOB, {**values, "request": to_json(dict(request)).decode()})


def job_by_key(context: Context, batch: Batch[JobT, ItemT], key: str) -> JobT | None:
    """Return the tenant's job with this idempotency key, or None."""
    return _job(context.connection, batch, _JOB_BY_KEY, [context.tenant_id, key])


def job_by_id(context: Context, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT | None:
    """Return the tenant's job with this id, or None."""
    return _job(context.connection, batch, _JOB_BY_ID, [context.tenant_id, job_id])


def lock_job(context: Context, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT | None:
    """Lock the tenant's job with this id until the transaction ends, and return it; None if there is none."""
    return _job(context.connection, batch, _LOCK_JOB, [context.tenant_id, job_id])


def any_job(connection: Connection, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT | None:
    """Return a job of any tenant, for operators, or None."""
    return _job(connection, batch, _ANY_JOB, [job_id])


def select_jobs(
    context: Context, batch: Batch[JobT, ItemT], *, status: str | None, before: UUID | None, limit: int
) -> list[JobT]:
    """Return the tenant's jobs, newest first."""
    wanted = {"tenant": context.tenant_id, "status": status, "before": before, "limit": limit}
    cursor = context.connection.cursor(row_factory=class_row(batch.job))
    return cursor.execute(statement(batch, _LIST_JOBS), wanted).fetchall()


def insert_items(connection: Connection, batch: Any_, job_id: UUID, items: Sequence[Mapping[str, Any]]) -> None:
    """Insert a job's items, each with its `id` and the batch's `about` columns, in one statement."""
    connection.execute(statement(batch, _INSERT_ITEMS), [job_id, to_json(items).decode()])


def select_items(
    connection: Connection,
    batch: Batch[JobT, ItemT],
    job_id: UUID,
    *,
    status: str | None = None,
    after: UUID | None = None,
    limit: int,
) -> list[ItemT]:
    """Return a page of a job's items in the order of their ids, which is the order of submission."""
    wanted = {"job_id": job_id, "status": status, "after": after, "limit": limit}
    cursor = connection.cursor(row_factory=class_row(batch.item))
    return cursor.execute(statement(batch, _ITEMS), wanted).fetchall()


def items_by_id(connection: Connection, batch: Batch[JobT, ItemT], item_ids: Sequence[UUID]) -> dict[UUID, ItemT]:
    """Return items of any tenant by id. Ids without an item are left out."""
    cursor = connection.cursor(row_factory=class_row(batch.item))
    return {row.id: row for row in cursor.execute(statement(batch, _ITEMS_BY_ID), [list(item_ids)])}


def count_errors(connection: Connection, batch: Any_, job_id: UUID) -> dict[str, int]:
    """Return the number of a job's failed items by error type, largest first."""
    return dict(connection.execute(statement(batch, _ERRORS), [job_id]).fetchall())


def item_states(connection: Connection, batch: Any_, item_ids: Sequence[UUID]) -> dict[UUID, ItemState]:
    """Return the states of items by id, without locks. Ids without an item are left out."""
    return _states(connection, batch, _BY_ID, [list(item_ids)])


def lock_items(connection: Connection, batch: Any_, item_ids: Sequence[UUID]) -> dict[UUID, ItemState]:
    """Lock items in the order of their ids and return their states by id. Ids without an item are left out."""
    return _states(connection, batch, _LOCK_ITEMS, [list(item_ids)])


def not_begun(connection: Connection, batch: Any_, job_id: UUID, limit: int) -> list[ItemState]:
    """Return up to `limit` pending items of a job, that is, items whose call has not begun."""
    return list(_states(connection, batch, _NOT_BEGUN, [job_id, limit]).values())


def lock_failed_items(connection: Connection, batch: Any_, job_id: UUID) -> list[UUID]:
    """Lock a job's failed items and return their ids."""
    return connection.cursor(row_factory=scalar_row).execute(statement(batch, _LOCK_FAILED), [job_id]).fetchall()


def owners(connection: Connection, batch: Any_, job_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, str]]:
    """Return the tenant and the status of jobs, by job id."""
    rows = connection.execute(statement(batch, _OWNERS), [list(job_ids)])
    return {job_id: (tenant_id, status) for job_id, tenant_id, status in rows}


def set_status(connection: Connection, batch: Any_, job_ids: Sequence[UUID], status: JobStatus) -> None:
    """Set the status of locked jobs, with `started_at` and `completed_at`."""
    connection.execute(statement(batch, _SET_STATUS), {"status": status, "ids": list(job_ids)})


def begin_items(connection: Connection, batch: Any_, item_ids: Sequence[UUID]) -> None:
    """Set pending items to processing."""
    connection.execute(statement(batch, _BEGIN), [list(item_ids)])


def reset_items(connection: Connection, batch: Any_, item_ids: Sequence[UUID]) -> None:
    """Set locked items to pending with their next attempt, and clear their error."""
    connection.execute(statement(batch, _RESET_ITEMS), {"ids": list(item_ids)})


def begin_generation(connection: Connection, batch: Any_, job_ids: Sequence[UUID]) -> None:
    """Begin the next generation of locked jobs: set them to processing, so that each completes once more."""
    connection.execute(statement(batch, _NEXT_GENERATION), {"ids": list(job_ids)})


def mark_cancelled(connection: Connection, batch: Any_, job_id: UUID, actor: str, reason: str) -> bool:
    """Mark a locked job as cancelled. Returns False if it was cancelled before."""
    wanted = {"id": job_id, "actor": actor, "reason": reason}
    return connection.execute(statement(batch, _CANCEL), wanted).rowcount > 0


def pending_items(
    connection: Connection, batch: Any_, job_id: UUID, only: Sequence[UUID] | None, page: int
) -> Iterator[tuple[Any, ...]]:
    """Yield id, retry count and `about` columns of a job's pending items, or of those in `only`, by pages."""
    after: UUID | None = None
    wanted = {"job_id": job_id, "only": None if only is None else list(only), "limit": page}
    while rows := connection.execute(statement(batch, _PENDING), {**wanted, "after": after}).fetchall():
        yield from rows
        after = rows[-1][0]


def _job(connection: Connection, batch: Batch[JobT, ItemT], template: LiteralString, values: Any) -> JobT | None:
    return connection.cursor(row_factory=class_row(batch.job)).execute(statement(batch, template), values).fetchone()


def _states(connection: Connection, batch: Any_, template: LiteralString, values: Any) -> dict[UUID, ItemState]:
    rows = connection.execute(statement(batch, template), values)
    return {
        item_id: ItemState(item_id, job_id, tenant_id, batch.word(status), attempt, tuple(about))
        for item_id, job_id, tenant_id, status, attempt, *about in rows
    }
