"""Retry failed items as their job's next generation, and revive items whose request is a dead letter.

Each retry increases the item's attempt by one, so a late result of the previous attempt changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic
from uuid import UUID

from app.context import Connection, Context, HandlerContext
from app.engine.batches import counters, lifecycle, rules, store
from app.engine.batches.rows import ItemState, ItemT, JobT
from app.engine.batches.statements import statement
from app.engine.batches.tables import Batch
from app.errors import Conflict, NotFound
from events import Event

_LAST_UNCLEAR = """
SELECT extract(epoch FROM clock_timestamp() - max(completed_at)) FROM {items}
 WHERE id = ANY(%s) AND error_type <> %s
"""


@dataclass(frozen=True, slots=True)
class Retried(Generic[JobT]):
    """A job after a retry, and the number of items that were requested again."""

    job: JobT
    items: int


def retry_failed(
    context: Context, batch: Batch[JobT, ItemT], job_id: UUID, item_ids: Sequence[UUID] | None = None
) -> Retried[JobT]:
    """Request failed items again as a new generation, which completes once more. `item_ids`: default all failed items.

    A job without failed items stays unchanged. If the other side may still process the call of an item, the items are
    requested after the batch's grace period. Raises `NotFound` for an unknown job or item, and `Conflict` if an item of
    `item_ids` is still open or has succeeded.
    """
    connection = context.connection
    with connection.transaction():
        job = lifecycle.lock_job(context, batch, job_id)
        failed = _failed(context, batch, job_id, item_ids)
        if not failed:
            return Retried(job, 0)
        delay = _grace_left(connection, batch, failed)
        _reopen(connection, batch, failed)
        counters.count(connection, batch, {job_id: (0, -len(failed))})
        store.begin_generation(connection, batch, [job_id])
        parts = iter(failed)
        while part := tuple(islice(parts, rules.ITEMS_A_REQUEST)):
            lifecycle.publish_submitted(context, batch, job, len(part), only=part, delay=delay)
    return Retried(lifecycle.get_job(context, batch, job_id), len(failed))


def revive(context: HandlerContext, batch: Batch[Any, Any], requested: Sequence[Event[Any]]) -> dict[UUID, Event[Any]]:
    """Set the items of dead requests to pending with their next attempt. Returns the new requests by the dead one's id.

    Requests that were overtaken are left out. A job with failed items among them begins its next generation.
    """
    connection = context.connection
    counters.lock(connection, batch, sorted({batch.job_of(event.data) for event in requested}))
    items = store.lock_items(connection, batch, [batch.item_of(event.data) for event in requested])
    dead = [
        event
        for event in requested
        if (item := items.get(batch.item_of(event.data))) and can_be_revived(batch, item, event)
    ]
    # Two dead requests may have the same item. Request it again once.
    dead = list({batch.item_of(event.data): event for event in reversed(dead)}.values())[::-1]
    _reopen(connection, batch, [batch.item_of(event.data) for event in dead])
    failed: dict[UUID, tuple[int, int]] = {}
    for event in dead:
        if items[batch.item_of(event.data)].status == "error":
            job_id = batch.job_of(event.data)
            failed[job_id] = (0, failed.get(job_id, (0, 0))[1] - 1)
    counters.count(connection, batch, failed)
    store.begin_generation(connection, batch, list(failed))
    return {event.id: _next(context, batch, event) for event in dead}


def can_be_revived(batch: Batch[Any, Any], item: ItemState, event: Event[Any]) -> bool:
    """Whether the item is still at the attempt of the dead request and has not succeeded."""
    return matches(batch, item, event) and item.retry_count == batch.attempt_of(event.data) and item.status != "success"


def matches(batch: Batch[Any, Any], item: ItemState, event: Event[Any]) -> bool:
    """Whether a request matches its item: same job, same tenant, same `about` values."""
    data = event.data
    about = [(column, value) for column, value in zip(batch.about, item.about, strict=True) if hasattr(data, column)]
    return (item.job_id, item.tenant_id) == (batch.job_of(data), event.tenantid) and all(
        getattr(data, column) == value for column, value in about
    )


def _failed(context: Context, batch: Batch[JobT, ItemT], job_id: UUID, item_ids: Sequence[UUID] | None) -> list[UUID]:
    if item_ids is None:
        return store.lock_failed_items(context.connection, batch, job_id)
    items = store.lock_items(context.connection, batch, item_ids)
    unknown = [item_id for item_id in item_ids if item_id not in items or items[item_id].job_id != job_id]
    if unknown:
        message = f"items: not of job {job_id}: {rules.name_some(unknown)}"
        raise NotFound(message)
    other = [item for item in items.values() if item.status != "error"]
    if other:
        states = ", ".join(sorted({item.status for item in other}))
        message = f"items: only failed items can be retried; {states}: {rules.name_some([item.id for item in other])}"
        raise Conflict(message)
    return list(items)


def _grace_left(connection: Connection, batch: Batch[Any, Any], item_ids: Sequence[UUID]) -> float:
    """Return the seconds until the other side may be asked about items that failed after a call."""
    row = connection.execute(statement(batch, _LAST_UNCLEAR), [list(item_ids), rules.NEVER_CALLED]).fetchone()
    since = row[0] if row and row[0] is not None else None
    return 0.0 if since is None else max(0.0, batch.grace_period() - float(since))


def _reopen(connection: Connection, batch: Batch[Any, Any], item_ids: Sequence[UUID]) -> None:
    if batch.lock_about:
        batch.lock_about(connection, item_ids)
    store.reset_items(connection, batch, item_ids)


def _next(context: HandlerContext, batch: Batch[Any, Any], event: Event[Any]) -> Event[Any]:
    attempt = batch.attempt_of(event.data) + 1
    requested = event.data.model_copy(update={"attempt": attempt})
    event_id = rules.request_id(batch.requested, batch.item_of(event.data), attempt)
    return event.follow(requested, context.now, event_id=event_id)
