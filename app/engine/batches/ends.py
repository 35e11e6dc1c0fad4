"""End items by hand: cancel a job, record a known result, discard the dead request of an item.

All of these use `results.apply`, with the same locks, counters, completion and events as a worker's result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic
from uuid import UUID

from pydantic import ValidationError

from app.context import Connection, Context, HandlerContext
from app.engine import audit_log
from app.engine.batches import counters, lifecycle, results, rules, store
from app.engine.batches.results import Result
from app.engine.batches.rows import ItemState, ItemT, JobT
from app.engine.batches.tables import Batch
from app.engine.dead_letters import closing
from app.engine.effects.calls import live
from app.engine.queue.publish import publish_all
from app.errors import Conflict, InvalidInput, NotFound
from events import Event, Payload, explain

_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Cancelled(Generic[JobT]):
    """A cancelled job, with counts: items failed now, items whose call has begun, dead letters resolved."""

    job: JobT
    failed: int
    in_hand: int
    letters: int


def cancel(
    context: Context, batch: Batch[JobT, ItemT], job_id: UUID, *, actor: str, reason: str, dry_run: bool = False
) -> Cancelled[JobT]:
    """Cancel a job that has not ended: fail items whose call has not begun, and allow no further calls.

    Items whose request is dead fail too, and their dead letters are resolved. Items whose call has begun get the result
    of the call, or fail when the effect rechecks before its call. The job completes with its last result. A repeated
    cancel also fails items whose requests were dead-lettered since. With `dry_run` everything is rolled back, and the
    returned counts are a forecast. Raises `NotFound`, `InvalidInput` for an empty reason, and `Conflict` for a job that
    has ended.
    """
    reason = audit_log.text("reason", reason)
    why = rules.cancelled_by(actor, reason)
    with context.connection.transaction(force_rollback=dry_run):
        dead = _hold(context, batch, job_id)
        job = lifecycle.lock_job(context, batch, job_id)
        if job.status in {"completed", "failed"}:
            raise Conflict(f"job: {job_id} is {job.status}: there is nothing to cancel")
        if store.mark_cancelled(context.connection, batch, job_id, actor, reason):
            audit_log.record(context.connection, actor, "cancel job", subject=job_id, reason=reason)
        ended = _fail_requested(context, batch, list(dead.letters.values()), why)
        publish_all(context.connection, ended.follow)
        failed = ended.counted + _fail_not_begun(context, batch, job_id, why)
        letters = closing.close(context.connection, dead, "cancel job", why, actor)
    total, *counted = batch.counters(job)
    in_hand = total - sum(counted) - failed
    return Cancelled(lifecycle.get_job(context, batch, job_id), failed, in_hand, letters)


def record_item(  # noqa: PLR0913 - the result and the fields of its audit entry
    context: Context,
    batch: Batch[JobT, ItemT],
    item_id: UUID,
    result: Mapping[str, Any],
    *,
    actor: str,
    reason: str,
    details: Mapping[str, Any] | None = None,
    told: str | None = None,
) -> JobT:
    """Record the result of an item by hand. Returns the item's job.

    `result`: `status` and the batch's result fields. The result counts like an effect's result, and resolves the dead
    letters of the item's requests. `details`: the details of the audit entry; default: the result. `told`: the text for
    the letters' notes; default: the status. Raises `InvalidInput` for an invalid result, `NotFound`, and `Conflict` for
    an item that has a result or whose call is in progress.
    """
    reason = audit_log.text("reason", reason)
    with context.connection.transaction():
        item = store.item_states(context.connection, batch, [item_id]).get(item_id)
        if item is None or item.tenant_id != context.tenant_id:
            raise NotFound(
                f"item: {item_id} is no item of this {batch.owner}; `{batch.command} show JOB` lists a job's items"
            )
        dead = _hold(context, batch, item.job_id, item_id)
        lifecycle.lock_job(context, batch, item.job_id)
        item = store.lock_items(context.connection, batch, [item_id])[item_id]
        _refuse_live(context.connection, batch, [item])
        if not _apply(context, batch, [Result(item.tenant_id, _said(batch, item, result))]):
            raise Conflict(f"item: {item_id} has a result already; `{batch.command} retry` asks for a failed one again")
        record_only = dict(result) if details is None else details
        audit_log.record(context.connection, actor, "record item", subject=item_id, reason=reason, details=record_only)
        note = f"recorded by {actor}: item {item_id} {told or result['status']}: {reason}"
        closing.close(context.connection, dead, "record item", note, actor)
    return lifecycle.get_job(context, batch, item.job_id)


def discard(
    context: HandlerContext, batch: Batch[Any, Any], requested: Sequence[Event[Any]], why: str
) -> Iterable[Event[Any]]:
    """Fail the items of discarded requests, with the reason `why`. Returns the events to publish.

    Raises `Conflict` for an item whose call is in progress.
    """
    connection = context.connection
    counters.lock(connection, batch, sorted({batch.job_of(event.data) for event in requested}))
    states = store.lock_items(connection, batch, sorted({batch.item_of(event.data) for event in requested}))
    waiting = open_items(connection, batch, requested)
    _refuse_live(connection, batch, [states[item_id] for item_id in waiting.values()])
    return _fail_requested(context, batch, requested, why).follow


def open_items(connection: Connection, batch: Batch[Any, Any], requested: Sequence[Event[Any]]) -> dict[UUID, UUID]:
    """Return the ids of the items that still wait for the results of requests, by the request's event id."""
    states = store.item_states(connection, batch, [batch.item_of(event.data) for event in requested])
    return {
        event.id: item.id
        for event in requested
        if (item := states.get(batch.item_of(event.data)))
        and (item.job_id, item.tenant_id, item.retry_count)
        == (batch.job_of(event.data), event.tenantid, batch.attempt_of(event.data))
        and item.is_open
    }


def _hold(context: Context, batch: Batch[Any, Any], job_id: UUID, item_id: UUID | None = None) -> closing.Held:
    """Lock the dead letters of a job's or an item's requests. Call this before the job is locked."""

    def is_meant(event: Event[Any]) -> bool:
        of_job = event.tenantid == context.tenant_id and batch.job_of(event.data) == job_id
        return of_job and item_id in {None, batch.item_of(event.data)}

    return closing.hold(context.connection, batch.requested, job_id, is_meant)


def _fail_requested(
    context: HandlerContext, batch: Batch[Any, Any], requested: Sequence[Event[Any]], why: str
) -> results.Applied:
    """Fail the items of locked jobs that still wait for these dead requests. The caller publishes `follow`."""
    states = store.lock_items(context.connection, batch, sorted({batch.item_of(event.data) for event in requested}))
    waiting = open_items(context.connection, batch, requested)
    failed = [
        Result(states[item_id].tenant_id, failure(batch, states[item_id], why, "unknown"))
        for item_id in waiting.values()
    ]
    return results.apply(context, batch, failed) if failed else results.Applied(0, 0, [])


def failure(batch: Batch[Any, Any], item: ItemState, why: str, error_type: str) -> Payload:
    """Return the payload of a failed result. `error_type`: `validation` if no call was made."""
    return _said(batch, item, {"status": batch.error, "error_type": error_type, "error_message": why})


def _said(batch: Batch[Any, Any], item: ItemState, result: Mapping[str, Any]) -> Payload:
    named = {batch.job_id: item.job_id, batch.item_id: item.id, "attempt": item.retry_count}
    try:
        return batch.completed(**named, **result)
    except ValidationError as error:
        raise InvalidInput(f"result: {explain(error)}") from error


def _fail_not_begun(context: Context, batch: Batch[Any, Any], job_id: UUID, why: str) -> int:
    count = 0
    while items := store.not_begun(context.connection, batch, job_id, _PAGE):
        failed = [Result(item.tenant_id, failure(batch, item, why, rules.NEVER_CALLED)) for item in items]
        count += _apply(context, batch, failed)
    return count


def _refuse_live(connection: Connection, batch: Batch[Any, Any], items: Sequence[ItemState]) -> None:
    # The items are locked, so none of their calls begins before this transaction ends.
    keys = {rules.request_id(batch.requested, item.id, item.retry_count): item.id for item in items}
    if found := live(connection, list(keys)):
        named = rules.name_some([keys[key] for key in found])
        raise Conflict(f"items: their calls are in progress, so wait for the results: {named}")


def _apply(context: Context, batch: Batch[Any, Any], said: Sequence[Result]) -> int:
    applied = results.apply(context, batch, said)
    publish_all(context.connection, applied.follow)
    return applied.counted
