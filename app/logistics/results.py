"""Results: what came of items, counted once.

The lock order is that of the whole program: jobs by id, then items by id, then orders by id. A result for an item
that does not wait for it (an older attempt, a second answer) is late: it changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import structlog
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import events
from app.context import Connection, Context, Moment
from app.engine import tally
from app.engine.publish import publish
from app.errors import GuiltyEvents, NotFound
from app.logistics import orders, rules, store
from app.logistics.orders import Tracking
from app.logistics.store import ROBOT_JOBS, ItemState
from events import Event
from events.robot import ItemCompleted, JobCompleted

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one item: its workspace, the answer, and the event that brought it, if one did."""

    workspace_id: UUID
    said: ItemCompleted
    cause: Event[ItemCompleted] | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """How many results counted and how many were late; `follow` are the events that are to be published with them."""

    counted: int
    late: int
    follow: list[Event[Any]] = field(repr=False)


_APPLY = """
UPDATE logistics.robot_job_items AS item
   SET status = r.status, tracking_number = r.tracking_number, validated_city = r.validated_city,
       value_sent = r.value_sent, error_type = r.error_type, error_message = r.error_message, completed_at = %(now)s,
       started_at = coalesce(item.started_at, %(now)s)
  FROM jsonb_to_recordset(%(results)s) AS r (
       item_id uuid, status text, tracking_number text, validated_city text, value_sent jsonb, error_type text,
       error_message text)
 WHERE item.id = r.item_id
"""
_FINISHED = """
UPDATE logistics.robot_jobs
   SET status = CASE WHEN success_count > 0 THEN 'completed' ELSE 'failed' END, completed_at = %(now)s,
       started_at = coalesce(started_at, %(now)s)
 WHERE id = ANY(%(ids)s)
RETURNING id, workspace_id, success_count, error_count, generation
"""


def update_job_item_result(context: Context, said: ItemCompleted) -> Applied:
    """Record what came of one item. Raises `NotFound` if it is not the workspace's."""
    return update_job_item_results(context, [said])


def update_job_item_results(context: Context, results: Sequence[ItemCompleted]) -> Applied:
    """Record what came of items, set-based: items, counters, orders, completion and its events in one transaction.

    Late results change nothing and are counted as such. Raises `NotFound`, and records nothing, if an item is not of
    the job that its result names, or not the workspace's.
    """
    with context.connection.transaction():
        applied = apply_results(context, [Result(context.tenant_id, said) for said in results])
        publish(context.connection, *applied.follow)
    return applied


def apply_results(moment: Moment, results: Sequence[Result]) -> Applied:
    """Record results of any workspaces in the caller's transaction; the caller publishes what follows.

    Raises `GuiltyEvents`, or `NotFound` for results without an event, if items are not what their results claim.
    """
    connection = moment.connection
    tally.lock(connection, ROBOT_JOBS, sorted({result.said.job_id for result in results}))
    items = store.lock_items(connection, [result.said.item_id for result in results])
    _refuse_strangers(results, items)
    waiting = _waiting(results, items)
    _write(moment, [result.said for result in waiting.values()])
    follow = [*_ship(moment, waiting, items), *_count(moment, waiting)]
    late = len(results) - len(waiting)
    if late:
        log.info("late results", late=late, counted=len(waiting))
    return Applied(len(waiting), late, follow)


def _refuse_strangers(results: Sequence[Result], items: dict[UUID, ItemState]) -> None:
    strangers = [result for result in results if not _is_known(result, items.get(result.said.item_id))]
    reasons = {
        r.cause.id: f"item {r.said.item_id} is not of job {r.said.job_id} of this workspace"
        for r in strangers
        if r.cause
    }
    if reasons:
        raise GuiltyEvents(reasons)
    if strangers:
        named = rules.name_some([result.said.item_id for result in strangers])
        message = f"items: not of the job that is named, or not of this workspace: {named}; nothing was recorded"
        raise NotFound(message)


def _is_known(result: Result, item: ItemState | None) -> bool:
    return item is not None and item.job_id == result.said.job_id and item.workspace_id == result.workspace_id


def _waiting(results: Iterable[Result], items: dict[UUID, ItemState]) -> dict[UUID, Result]:
    """The results that count, by item: the first one whose attempt the item is waiting for."""
    waiting: dict[UUID, Result] = {}
    for result in results:
        item = items[result.said.item_id]
        if item.status in {"pending", "processing"} and item.retry_count == result.said.attempt:
            waiting.setdefault(item.id, result)
    return waiting


def _write(moment: Moment, said: Sequence[ItemCompleted]) -> None:
    rows = [one.model_dump(mode="json", exclude={"job_id", "attempt"}) for one in said]
    if rows:
        moment.connection.execute(_APPLY, {"now": moment.now, "results": Jsonb(rows)})


def _ship(moment: Moment, waiting: dict[UUID, Result], items: dict[UUID, ItemState]) -> list[Event[Any]]:
    shipped = [
        Tracking(result.workspace_id, items[item_id].order_id, result.said.tracking_number, result.cause)
        for item_id, result in waiting.items()
        if result.said.tracking_number is not None
    ]
    return list(orders.set_tracking_numbers(moment, shipped))


def _count(moment: Moment, waiting: dict[UUID, Result]) -> list[Event[JobCompleted]]:
    succeeded = Counter(r.said.job_id for r in waiting.values() if r.said.status == "success")
    failed = Counter(r.said.job_id for r in waiting.values() if r.said.status == "error")
    changes = {job_id: (succeeded[job_id], failed[job_id]) for job_id in sorted({*succeeded, *failed})}
    done = [tallied.job_id for tallied in tally.count(moment.connection, ROBOT_JOBS, changes) if tallied.is_done]
    last = {result.said.job_id: result.cause for result in waiting.values()}
    return [_completed(moment, job, last[job["id"]]) for job in _finish(moment.connection, done, moment)]


def _finish(connection: Connection, job_ids: list[UUID], moment: Moment) -> list[dict[str, Any]]:
    if not job_ids:
        return []
    return connection.cursor(row_factory=dict_row).execute(_FINISHED, {"ids": job_ids, "now": moment.now}).fetchall()


def _completed(moment: Moment, job: dict[str, Any], cause: Event[Any] | None) -> Event[JobCompleted]:
    counts = {"success_count": job["success_count"], "error_count": job["error_count"], "generation": job["generation"]}
    payload = JobCompleted(job_id=job["id"], **counts)
    # The job and its generation make the id, so whatever brings it about, it can be said only once.
    event_id = uuid5(job["id"], f"{payload.type}/{payload.generation}")
    if cause is None:
        return events.new(payload, now=moment.now, subject=job["id"], tenant=job["workspace_id"], event_id=event_id)
    return cause.follow(payload, moment.now, subject=job["id"], event_id=event_id)
