"""Ends by hand: cancel a job, record what came of an item, and what discarding a dead request means for its item.

All of them write results through `apply_results`: the same locks, counters, completion and events as a robot's result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection, Context, Moment
from app.engine import audit_log
from app.engine.batches import counters
from app.engine.dead_letters import closing
from app.engine.effects.calls import live
from app.engine.queue.publish import publish_all
from app.errors import Conflict, InvalidInput, NotFound
from app.logistics import rules, store
from app.logistics.results import Applied, Result, apply_results
from app.logistics.store import ROBOT_JOBS, ItemState, RobotJob
from events import Event
from events.robot import ErrorType, ItemCompleted, ItemRequested

_PAGE = 5_000
_CANCEL = """
UPDATE logistics.robot_jobs
   SET cancelled_at = statement_timestamp(), cancelled_by = %(actor)s, cancel_reason = %(reason)s
 WHERE id = %(id)s AND cancelled_at IS NULL
"""
_NOT_BEGUN = """
SELECT i.id, i.job_id, j.workspace_id, i.order_id, i.status, i.retry_count
  FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.job_id = %s AND i.status = 'pending' ORDER BY i.id LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A job that was cancelled: items that failed at once, items that a robot had begun, dead letters resolved."""

    job: RobotJob
    failed: int
    in_hand: int
    letters: int


def cancel_job(context: Context, job_id: UUID, *, actor: str, reason: str, dry_run: bool = False) -> Cancelled:
    """Cancel a job that is not done: items that no robot has begun fail now, no call for the others begins.

    Items whose request is dead fail too, and the dead letters are resolved. Items that a robot has begun get the
    result of their call, or fail when the robot looks before it calls. The job completes with its last result, as
    always. Cancelling again ends what died since. With `dry_run` all of it is rolled back: the numbers say what would
    be done. Raises `NotFound`, `InvalidInput` for an empty reason, and `Conflict` for a job that is done.
    """
    reason = audit_log.text("reason", reason)
    why = rules.cancelled_by(actor, reason)
    with context.connection.transaction(force_rollback=dry_run):
        dead = closing.hold(context.connection, ItemRequested, job_id, lambda event: _is_of(context, event, job_id))
        job = store.lock_job(context, job_id)
        if job is None:
            raise NotFound(f"job: {job_id} is no job of this workspace; `jobs list` shows them")
        if job.status in {"completed", "failed"}:
            raise Conflict(f"job: {job_id} is {job.status}: there is nothing to cancel")
        if context.connection.execute(_CANCEL, {"id": job_id, "actor": actor, "reason": reason}).rowcount:
            audit_log.record(context.connection, actor, "cancel job", subject=job_id, reason=reason)
        ended = _fail_requested(context, list(dead.letters.values()), why)
        publish_all(context.connection, ended.follow)
        failed = ended.counted + _fail_not_begun(context, job_id, why)
        letters = closing.close(context.connection, dead, "cancel job", why, actor)
    in_hand = job.total_items - job.success_count - job.error_count - failed
    return Cancelled(store.job_by_id(context, job_id) or job, failed, in_hand, letters)


def record_item(  # noqa: PLR0913 - each says another thing about the result
    context: Context,
    item_id: UUID,
    *,
    actor: str,
    reason: str,
    tracking_number: str | None = None,
    error: str | None = None,
    error_type: ErrorType = "portal",
) -> RobotJob:
    """Record what a person knows came of an item: its tracking number, or an error; returns its job.

    It counts as a robot's result does, and resolves the dead letters of the item's requests. Raises `InvalidInput`
    unless it is one of the two, `NotFound`, and `Conflict` for an item that has a result or that a robot is entering
    at this moment.
    """
    if (tracking_number is None) == (error is None):
        raise InvalidInput("result: say --tracking or --error, one of them")
    word = audit_log.text("tracking" if error is None else "error", tracking_number or error or "")
    reason = audit_log.text("reason", reason)
    with context.connection.transaction():
        item = store.item_states(context.connection, [item_id]).get(item_id)
        if item is None or item.workspace_id != context.tenant_id:
            raise NotFound(f"item: {item_id} is no item of this workspace; `jobs show JOB` lists a job's items")
        job_id = item.job_id
        dead = closing.hold(
            context.connection,
            ItemRequested,
            job_id,
            lambda event: _is_of(context, event, job_id) and event.data.item_id == item_id,
        )
        store.lock_job(context, job_id)
        item = store.lock_items(context.connection, [item_id])[item_id]
        _refuse_live(context.connection, [item])
        said = (
            _failed(item, word, error_type)
            if error is not None
            else ItemCompleted(
                job_id=item.job_id, item_id=item.id, attempt=item.retry_count, status="success", tracking_number=word
            )
        )
        if not _apply(context, [Result(item.workspace_id, said)]):
            raise Conflict(f"item: {item_id} has a result already; `jobs retry` asks for a failed one again")
        details = {"status": said.status, "tracking_number": said.tracking_number, "error": said.error_message}
        audit_log.record(context.connection, actor, "record item", subject=item_id, reason=reason, details=details)
        note = f"recorded by {actor}: item {item_id} {_told(said)}: {reason}"
        closing.close(context.connection, dead, "record item", note, actor)
    job = store.job_by_id(context, item.job_id)
    if job is None:
        raise NotFound(f"job: {item.job_id} is gone")
    return job


def discard_requests(moment: Moment, requested: Sequence[Event[ItemRequested]], why: str) -> Iterable[Event[Any]]:
    """Give the items of discarded requests their result, an error; returns the events that follow.

    Raises `Conflict` for an item that a robot is entering at this moment.
    """
    counters.lock(moment.connection, ROBOT_JOBS, sorted({event.data.job_id for event in requested}))
    states = store.lock_items(moment.connection, sorted({event.data.item_id for event in requested}))
    waiting = open_items(moment.connection, requested)
    _refuse_live(moment.connection, [states[item_id] for item_id in waiting.values()])
    return _fail_requested(moment, requested, why).follow


def open_items(connection: Connection, requested: Sequence[Event[ItemRequested]]) -> dict[UUID, UUID]:
    """The items that still wait for the results of requests, by the request's event id."""
    states = store.item_states(connection, [event.data.item_id for event in requested])
    return {
        event.id: item.id
        for event in requested
        if (item := states.get(event.data.item_id))
        and (item.job_id, item.workspace_id, item.retry_count)
        == (event.data.job_id, event.tenantid, event.data.attempt)
        and item.status in {"pending", "processing"}
    }


def _fail_requested(moment: Moment, requested: Sequence[Event[ItemRequested]], why: str) -> Applied:
    """Fail the items of locked jobs that still wait for these dead requests; the caller publishes what follows."""
    states = store.lock_items(moment.connection, sorted({event.data.item_id for event in requested}))
    waiting = open_items(moment.connection, requested)
    results = [
        Result(states[item_id].workspace_id, _failed(states[item_id], why, "unknown")) for item_id in waiting.values()
    ]
    return apply_results(moment, results) if results else Applied(0, 0, [])


def _is_of(context: Context, event: Event[Any], job_id: UUID) -> bool:
    return event.tenantid == context.tenant_id and event.data.job_id == job_id


def _told(said: ItemCompleted) -> str:
    return f"shipped as {said.tracking_number}" if said.status == "success" else f"failed: {said.error_message}"


def _fail_not_begun(context: Context, job_id: UUID, why: str) -> int:
    count = 0
    while items := _items(context.connection, _NOT_BEGUN, [job_id, _PAGE]):
        count += _apply(context, [Result(item.workspace_id, _failed(item, why, "validation")) for item in items])
    return count


def _refuse_live(connection: Connection, items: Sequence[ItemState]) -> None:
    # The items are locked: no call of theirs begins any more before this transaction ends.
    keys = {rules.request_id(item.id, item.retry_count): item.id for item in items}
    if found := live(connection, list(keys)):
        named = rules.name_some([keys[key] for key in found])
        raise Conflict(f"items: a robot is entering them at this moment, its result counts: {named}")


def _apply(context: Context, results: Sequence[Result]) -> int:
    applied = apply_results(context, results)
    publish_all(context.connection, applied.follow)
    return applied.counted


def _failed(item: ItemState, why: str, kind: ErrorType) -> ItemCompleted:
    return ItemCompleted(
        job_id=item.job_id,
        item_id=item.id,
        attempt=item.retry_count,
        status="error",
        error_type=kind,
        error_message=why,
    )


def _items(connection: Connection, statement: Any, parameters: Any) -> list[ItemState]:
    return connection.cursor(row_factory=class_row(ItemState)).execute(statement, parameters).fetchall()
