"""Submit a job with an idempotency key, read it, set its status. Each function acts for the context's tenant alone.

A domain with checks of its own calls the steps of `submit()` itself, in one transaction: `refuse_used_key()` before it
waits for anything, `open_job()` after its locks, `add_items()` after its checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic
from uuid import UUID

import events
from app.context import Context
from app.engine.batches import rules, store
from app.engine.batches.rules import JobStatus
from app.engine.batches.tables import Batch, ItemT, JobT
from app.engine.queue.publish import publish
from app.errors import Conflict, DuplicateRequest, KeyReused, NotFound
from events import new_id


@dataclass(frozen=True, slots=True)
class JobPage(Generic[JobT, ItemT]):
    """A job with a page of its items; `errors` counts failed items by type; `next_after` is None on the last page."""

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
    """Submit a job: its row, its items and its submitted event, or nothing of it.

    `items` give the batch's `about` columns, `request` its `request` columns; dates, UUIDs and numbers as Python has
    them. Raises `InvalidInput` for no items or other columns, `DuplicateRequest` and `KeyReused`, both with the
    existing job's id, for a key that was used before.
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
    """Raise `DuplicateRequest` or `KeyReused` for a key that was used before; waits for nobody."""
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
    """Insert a job of `total` items; the caller inserts these and publishes in the same transaction.

    Waits for a transaction that is about to use the same key. Raises `DuplicateRequest` or `KeyReused`.
    """
    job = store.insert_job(context, batch, new_id(), total=total, request=request, key=key, fingerprint=fingerprint)
    if job is not None:
        return job
    # The key is taken. Only a new statement sees the row of a transaction that has committed since.
    refuse_used_key(context, batch, key, fingerprint)
    message = f"idempotency key {key!r} was given back just now; submit again"
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
    """Publish that a job was submitted. On a retry, `only` names the items; `delay` seconds pass before delivery."""
    given = {name: getattr(job, name) for name in batch.request}
    values = {batch.job_id: job.id, "item_count": item_count, "attempt_items": only, **given}
    payload = rules.payload(batch.submitted, values)
    event = events.new(payload, now=context.now, subject=job.id, tenant=context.tenant_id)
    publish(context.connection, event, delay=delay)


def get_job(context: Context, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT:
    """One job. Raises `NotFound`."""
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
    """One job with up to `limit` of its items, those after item `after`. Raises `NotFound` and `InvalidInput`."""
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
    """The tenant's jobs, newest first; `before` continues after a page's last job. Raises `InvalidInput`."""
    if status is not None:
        rules.check_job_status(status)
    rules.check_page(limit)
    return store.select_jobs(context, batch, status=status, before=before, limit=limit)


def set_status(context: Context, batch: Batch[JobT, ItemT], job_id: UUID, status: JobStatus) -> JobT:
    """Move a job to `status`, overruling the engine.

    A job ends by itself with its last result; one that is ended by hand while items are open is named by the audit.
    Raises `NotFound`, and `Conflict` for a transition that is not allowed.
    """
    with context.connection.transaction():
        job = lock_job(context, batch, job_id)
        rules.check_transition(job.status, status)
        store.set_status(context.connection, batch, [job_id], status)
    return get_job(context, batch, job_id)


def lock_job(context: Context, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT:
    """One job, locked until the transaction ends. Raises `NotFound`."""
    job = store.lock_job(context, batch, job_id)
    if job is None:
        raise unknown_job(batch, job_id)
    return job


def unknown_job(batch: Batch[Any, Any], job_id: UUID) -> NotFound:
    """The error for a job that does not exist, or is another tenant's."""
    return NotFound(f"job: {job_id} is no job of this {batch.owner}; `{batch.command} list` shows them")


def _key_error(batch: Batch[JobT, ItemT], used: JobT, key: str, fingerprint: str) -> Conflict:
    if used.request_fingerprint == fingerprint:
        return DuplicateRequest(key, used.id)
    return KeyReused(key, used.id, batch.content)
