"""Results: what came of items, counted once.

The lock order is that of the whole program: jobs by id, then items by id, then orders by id. A result for an item
that does not wait for it (an older attempt, a second answer) is late: it changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import structlog
from psycopg.rows import dict_row

import events
from app.context import Connection, Context, Moment
from app.engine.batches import counters
from app.engine.queue.publish import publish
from app.errors import GuiltyEvents, NotFound
from app.logistics import orders, rules
from app.logistics.orders import Tracking
from app.logistics.store import ROBOT_JOBS
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


_Judged = tuple[int, bool, UUID | None]
"""The position of a result that is about an item of its job, whether it counts, and the order that it then ships."""

# One statement: what was said is parsed once. The items are locked in the order of their ids before any is changed,
# because the window needs all of them.
_RECORD = """
WITH said AS MATERIALIZED (
    SELECT * FROM ROWS FROM (jsonb_to_recordset(%(results)s::jsonb) AS (
               workspace_id uuid, job_id uuid, item_id uuid, attempt integer, status text, tracking_number text,
               validated_city text, value_sent jsonb, error_type text, error_message text))
      WITH ORDINALITY AS said (workspace_id, job_id, item_id, attempt, status, tracking_number, validated_city,
                               value_sent, error_type, error_message, n)),
locked AS MATERIALIZED (
    SELECT i.id, i.job_id, i.order_id, i.retry_count, i.status IN ('pending', 'processing') AS is_open
      FROM logistics.robot_job_items i
     WHERE i.id IN (SELECT item_id FROM said)
     ORDER BY i.id
       FOR UPDATE),
judged AS (
    SELECT said.*, item.order_id, item.is_open AND item.retry_count = said.attempt AS is_awaited
      FROM said
      JOIN locked item ON item.id = said.item_id AND item.job_id = said.job_id
      JOIN logistics.robot_jobs job ON job.id = item.job_id AND job.workspace_id = said.workspace_id),
verdicts AS MATERIALIZED (
    SELECT *, is_awaited AND row_number() OVER (PARTITION BY item_id, is_awaited ORDER BY n) = 1 AS counts
      FROM judged),
applied AS (
    UPDATE logistics.robot_job_items AS item
       SET status = said.status, tracking_number = said.tracking_number, validated_city = said.validated_city,
           value_sent = said.value_sent, error_type = said.error_type, error_message = said.error_message,
           completed_at = statement_timestamp(), started_at = coalesce(item.started_at, statement_timestamp())
      FROM verdicts said
     WHERE item.id = said.item_id AND said.counts)
SELECT n - 1, counts, CASE WHEN counts AND tracking_number IS NOT NULL THEN order_id END FROM verdicts ORDER BY n
"""
_FINISHED = """
UPDATE logistics.robot_jobs
   SET status = CASE WHEN success_count > 0 THEN 'completed' ELSE 'failed' END, completed_at = statement_timestamp(),
       started_at = coalesce(started_at, statement_timestamp())
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
    text = _as_json(results)
    counters.lock(connection, ROBOT_JOBS, sorted({result.said.job_id for result in results}))
    judged = connection.execute(_RECORD, {"results": text}).fetchall()
    _refuse_strangers(results, judged)
    shipping = {n: order_id for n, counts, order_id in judged if counts}
    counted = [results[n] for n in shipping]
    follow = [*_ship(moment, results, shipping), *_count(moment, counted)]
    late = len(results) - len(counted)
    if late:
        log.info("late results", late=late, counted=len(counted))
    return Applied(len(counted), late, follow)


def _as_json(results: Sequence[Result]) -> str:
    return "[" + ",".join(_one_as_json(result.workspace_id, result.said) for result in results) + "]"


def _one_as_json(workspace_id: UUID, said: ItemCompleted) -> str:
    return f'{{"workspace_id":"{workspace_id}",{said.__pydantic_serializer__.to_json(said).decode()[1:]}'


def _refuse_strangers(results: Sequence[Result], judged: Sequence[_Judged]) -> None:
    if len(judged) == len(results):
        return
    known = {n for n, _, _ in judged}
    strangers = [result for n, result in enumerate(results) if n not in known]
    reasons = {
        r.cause.id: f"item {r.said.item_id} is not of job {r.said.job_id} of this workspace"
        for r in strangers
        if r.cause
    }
    if reasons:
        raise GuiltyEvents(reasons)
    named = rules.name_some([result.said.item_id for result in strangers])
    message = f"items: not of the job that is named, or not of this workspace: {named}; nothing was recorded"
    raise NotFound(message)


def _ship(moment: Moment, results: Sequence[Result], shipping: dict[int, UUID | None]) -> list[Event[Any]]:
    shipped = [
        Tracking(results[n].workspace_id, order_id, results[n].said.tracking_number or "", results[n].cause)
        for n, order_id in shipping.items()
        if order_id is not None
    ]
    return list(orders.set_tracking_numbers(moment, shipped))


def _count(moment: Moment, counted: Sequence[Result]) -> list[Event[JobCompleted]]:
    ended = Counter((result.said.job_id, result.said.status) for result in counted)
    changes = {
        job_id: (ended[job_id, "success"], ended[job_id, "error"]) for job_id in sorted({job for job, _ in ended})
    }
    done = [tallied.job_id for tallied in counters.count(moment.connection, ROBOT_JOBS, changes) if tallied.is_done]
    if not done:
        return []
    last = {result.said.job_id: result.cause for result in counted}
    return [_completed(moment, job, last[job["id"]]) for job in _finish(moment.connection, done)]


def _finish(connection: Connection, job_ids: list[UUID]) -> list[dict[str, Any]]:
    return connection.cursor(row_factory=dict_row).execute(_FINISHED, {"ids": job_ids}).fetchall()


def _completed(moment: Moment, job: dict[str, Any], cause: Event[Any] | None) -> Event[JobCompleted]:
    counts = {"success_count": job["success_count"], "error_count": job["error_count"], "generation": job["generation"]}
    payload = JobCompleted(job_id=job["id"], **counts)
    # The job and its generation make the id, so whatever brings it about, it can be said only once.
    event_id = uuid5(job["id"], f"{payload.type}/{payload.generation}")
    if cause is None:
        return events.new(payload, now=moment.now, subject=job["id"], tenant=job["workspace_id"], event_id=event_id)
    return cause.follow(payload, moment.now, subject=job["id"], event_id=event_id)
