"""Submit jobs with an idempotency key, read them, and set their status. Each function is limited to one tenant.

A domain with its own checks calls the steps of `submit()` itself, in one transaction: `refuse_used_key()` before it
waits for locks, `open_job()` after its locks, then it inserts the items and calls `publish_submitted()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic
from uuid import UUID

import events
from app.context import Context
from app.engine.batches import rules, store
from app.engine.batches.rows import ItemT, JobT
from app.engine.batches.rules import JobStatus
from app.engine.batches.tables import Batch
from app.engine.queue.publish import publish
from app.errors import Conflict, DuplicateRequest, KeyReused, NotFound
from events import new_id


@dataclass(frozen=True, slots=True)
class JobPage(Generic[JobT, ItemT]):
    """A job with a page of its items. `errors`: failed items by error type. `next_after`: None on the last page."""

    job: JobT
    items: list[ItemT]
    errors: dict[str, int]
    next_after: UUID | None


def submit(
    context: Context,
    batch: Batch[JobT, ItemT],
    items: Sequence[Mapping[str, Any]],
    *,
    request: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> JobT:
    """Insert a job, its items and its submitted event in one transaction. Returns the job.

    `items`: for each item the values of the batch's `about` columns, as Python objects. `request`: the values of its
    `request` columns. Raises `InvalidInput` for no items, or for missing or other columns. Raises `DuplicateRequest`
    (same content) or `KeyReused` (other content), both with the existing job's id, if the key was used before.
    """
    given = dict(request or {})
    rules.check_key(idempotency_key)
    rules.check_rows("items", items, batch.about)
    rules.check_rows("request", [given], batch.request)
    fingerprint = rules.fingerprint(given, items)
    with context.connection.transaction():
        job = open_job(context, batch, len(items), request=given, key=idempotency_key, fingerprint=fingerprint)
        store.insert_items(context.connection, batch, job.id, [{**item, "id": new_id()} for item in items])
        publish_submitted(context, batch, job, len(items))
    return job


def refuse_used_key(context: Context, batch: Batch[JobT, ItemT], key: str | None, fingerprint: str) -> None:
    """Raise `DuplicateRequest` or `KeyReused` for a key that was used before. Takes no locks."""
    if key is not None and (used := store.job_by_key(context, batch, key)) is not None:
        raise _key_error(batch, used, key, fingerprint)


def open_job(
    context: Context,
    batch: Batch[JobT, ItemT],
    total: int,
    *,
    request: Mapping[str, Any],
    key: str | None,
    fingerprint: str,
) -> JobT:
    """Insert a job of `total` items. The caller inserts the items and publishes the event in the same transaction.

    Waits for a running transaction that uses the same key. Raises `DuplicateRequest` or `KeyReused`, and `Conflict` if
    the key was freed meanwhile.
    """
    job = store.insert_job(context, batch, new_id(), total=total, request=request, key=key, fingerprint=fingerprint)
    if job is not None:
        return job
    # The key is taken. Only a new statement sees a row that another transaction committed meanwhile.
    refuse_used_key(context, batch, key, fingerprint)
    message = f"idempotency key {key!r} was freed just now; submit again"
    raise Conflict(message)


def publish_submitted(
    context: Context,
    batch: Batch[JobT, ItemT],
    job: JobT,
    item_count: int,
    *,
    only: Sequence[UUID] | None = None,
    delay: float = 0.0,
) -> None:
    """Publish a job's submitted event. `only`: the items of a retry. `delay`: seconds before the first delivery."""
    given = {name: getattr(job, name) for name in batch.request}
    values = {batch.job_id: job.id, "item_count": item_count, "attempt_items": only, **given}
    payload = rules.payload(batch.submitted, values)
    event = events.new(payload, now=context.now, subject=job.id, tenant=context.tenant_id)
    publish(context.connection, event, delay=delay)


def get_job(context: Context, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT:
    """Return a job. Raises `NotFound`."""
    job = store.job_by_id(context, batch, job_id)
    if job is None:
        raise unknown_job(batch, job_id)
    return job


def get_page(
    context: Context,
    batch: Batch[JobT, ItemT],
    job_id: UUID,
    *,
    status: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> JobPage[JobT, ItemT]:
    """Return a job with up to `limit` (at most 1000) of its items, starting after item `after`.

    `status`: only items with this status. Raises `NotFound` and `InvalidInput`.
    """
    job = get_job(context, batch, job_id)
    rules.check_page(limit)
    if status is not None:
        rules.check_word(status, [batch.pending, batch.processing, batch.success, batch.error])
    items = store.select_items(context.connection, batch, job_id, status=status, after=after, limit=limit + 1)
    next_after = items[limit - 1].id if len(items) > limit else None
    return JobPage(job, items[:limit], store.count_errors(context.connection, batch, job_id), next_after)


def list_jobs(
    context: Context,
    batch: Batch[JobT, ItemT],
    *,
    status: str | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[JobT]:
    """Return the tenant's jobs, newest first, at most `limit` (at most 1000). Raises `InvalidInput`.

    `before`: the last job of the previous page.
    """
    if status is not None:
        rules.check_job_status(status)
    rules.check_page(limit)
    return store.select_jobs(context, batch, status=status, before=before, limit=limit)


def set_status(context: Context, batch: Batch[JobT, ItemT], job_id: UUID, status: JobStatus) -> JobT:
    """Set a job's status by hand. Returns the job.

    A job ends by itself with its last result. The audit reports a job that is ended by hand while items are open.
    Raises `NotFound`, `InvalidInput` for an unknown status, and `Conflict` for a transition that is not allowed.
    """
    with context.connection.transaction():
        job = lock_job(context, batch, job_id)
        rules.check_transition(job.status, status)
        store.set_status(context.connection, batch, [job_id], status)
    return get_job(context, batch, job_id)


def lock_job(context: Context, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT:
    """Lock a job until the transaction ends and return it. Raises `NotFound`."""
    job = store.lock_job(context, batch, job_id)
    if job is None:
        raise unknown_job(batch, job_id)
    return job


def unknown_job(batch: Batch[Any, Any], job_id: UUID) -> NotFound:
    """Return the error for a job that does not exist or belongs to another tenant."""
    return NotFound(f"job: {job_id} is no job of this {batch.owner}; `{batch.command} list` shows them")


def _key_error(batch: Batch[JobT, ItemT], used: JobT, key: str, fingerprint: str) -> Conflict:
    if used.request_fingerprint == fingerprint:
        return DuplicateRequest(key, used.id)
    return KeyReused(key, used.id, batch.content)
