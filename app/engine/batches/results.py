"""Record the results of items. Each attempt counts once.

Lock order: jobs by id, then items by id. A result is late if the item does not wait for it, because it belongs to an
older attempt or the attempt has a result. A late result changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import structlog
from pydantic_core import to_json

import events
from app.context import Connection, HandlerContext
from app.engine.batches import counters, rules
from app.engine.batches.statements import statement
from app.engine.batches.tables import Batch
from app.errors import FailingEvents, NotFound
from events import Event, Payload

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one item: its tenant, its payload, and the event that carried it, or None."""

    tenant_id: UUID
    data: Any
    cause: Event[Any] | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """Numbers of results that counted and that were late. `follow`: events to publish in the same transaction."""

    counted: int
    late: int
    follow: list[Event[Any]] = field(repr=False)


# All items are locked in the order of their ids before any is changed, because the window function needs all rows.
_RECORD = """
WITH said AS MATERIALIZED (
    SELECT n, (value ->> 'tenant')::uuid AS tenant_id, (value ->> 'job')::uuid AS job_id,
           (value ->> 'item')::uuid AS item_id, (value -> 'attempt')::integer AS attempt, value -> 'columns' AS columns
      FROM jsonb_array_elements(%(results)s::jsonb) WITH ORDINALITY AS result (value, n)),
locked AS MATERIALIZED (
    SELECT i.id, i.{job_id} AS job_id, i.retry_count, i.{status} IN ({pending}, {processing}) AS is_open
      FROM {items} i
     WHERE i.id IN (SELECT item_id FROM said)
     ORDER BY i.id
       FOR UPDATE),
matched AS (
    SELECT said.*, item.is_open AND item.retry_count = said.attempt AS is_awaited
      FROM said
      JOIN locked item ON item.id = said.item_id AND item.job_id = said.job_id
      JOIN {jobs} job ON job.id = item.job_id AND job.{tenant} = said.tenant_id),
verdicts AS MATERIALIZED (
    SELECT *, is_awaited AND row_number() OVER (PARTITION BY item_id, is_awaited ORDER BY n) = 1 AS counts
      FROM matched),
applied AS (
    UPDATE {items} AS item
       SET {set_result}{status} = filled.{status}, completed_at = statement_timestamp(),
           started_at = coalesce(item.started_at, statement_timestamp())
      FROM verdicts said, LATERAL jsonb_populate_record(NULL::{items}, said.columns) AS filled
     WHERE item.id = said.item_id AND said.counts)
SELECT n - 1, counts FROM verdicts ORDER BY n
"""
_FINISHED = """
UPDATE {jobs}
   SET status = CASE WHEN {succeeded} > 0 THEN 'completed' ELSE 'failed' END, completed_at = statement_timestamp(),
       started_at = coalesce(started_at, statement_timestamp())
 WHERE id = ANY(%(ids)s)
RETURNING id, {tenant}, {succeeded}, {failed}, generation
"""


def apply(context: HandlerContext, batch: Batch[Any, Any], results: Sequence[Result]) -> Applied:
    """Record results of any tenants in the caller's transaction, by `batch.record` if set.

    The caller publishes `follow`. Raises `FailingEvents`, or `NotFound` for results without an event, if an item does
    not belong to the job or tenant of its result.
    """
    return (batch.record or record)(context, batch, results)


def record(context: HandlerContext, batch: Batch[Any, Any], results: Sequence[Result]) -> Applied:
    """Record results with one statement, then update counters and complete jobs. Raises as `apply()` does."""
    lock_jobs(context.connection, batch, results)
    text = to_json([_as_json(batch, result) for result in results]).decode()
    matched = context.connection.execute(statement(batch, _RECORD), {"results": text}).fetchall()
    refuse_mismatched(batch, results, [n for n, _ in matched])
    return complete(context, batch, results, [results[n] for n, counts in matched if counts])


def lock_jobs(connection: Connection, batch: Batch[Any, Any], results: Sequence[Result]) -> None:
    """Lock the jobs of results. Call this before the items are locked."""
    counters.lock(connection, batch, sorted({batch.job_of(result.data) for result in results}))


def refuse_mismatched(batch: Batch[Any, Any], results: Sequence[Result], found: Collection[int]) -> None:
    """Raise if an item does not belong to the job or tenant of its result.

    `found`: positions of the results that match. Raises `FailingEvents` if events carried the others, else `NotFound`.
    """
    if len(found) == len(results):
        return
    known = set(found)
    mismatched = [result for n, result in enumerate(results) if n not in known]
    reasons = {
        r.cause.id: f"item {batch.item_of(r.data)} is not of job {batch.job_of(r.data)} of this {batch.owner}"
        for r in mismatched
        if r.cause
    }
    if reasons:
        raise FailingEvents(reasons)
    named = rules.name_some([batch.item_of(result.data) for result in mismatched])
    message = f"items: not of the job that is named, or not of this {batch.owner}: {named}; nothing was recorded"
    raise NotFound(message)


def complete(
    context: HandlerContext, batch: Batch[Any, Any], results: Sequence[Result], counted: Sequence[Result]
) -> Applied:
    """Add the results `counted`, a part of `results`, to the counters, and complete jobs that have no open items left.

    Returns the events to publish in `follow`.
    """
    late = len(results) - len(counted)
    if late:
        log.info("late results", late=late, counted=len(counted))
    return Applied(len(counted), late, _completed(context, batch, counted))


def _completed(context: HandlerContext, batch: Batch[Any, Any], counted: Sequence[Result]) -> list[Event[Any]]:
    ended = Counter((batch.job_of(result.data), result.data.status) for result in counted)
    changes = {
        job_id: (ended[job_id, batch.success], ended[job_id, batch.error])
        for job_id in sorted({job for job, _ in ended})
    }
    done = [one.job_id for one in counters.count(context.connection, batch, changes) if one.is_done]
    if not done:
        return []
    last = {batch.job_of(result.data): result.cause for result in counted}
    rows = context.connection.execute(statement(batch, _FINISHED), {"ids": done}).fetchall()
    return [_job_completed(context, batch, row, last[row[0]]) for row in rows]


def _job_completed(context: HandlerContext, batch: Batch[Any, Any], row: Any, cause: Event[Any] | None) -> Event[Any]:
    job_id, tenant_id, succeeded, failed, generation = row
    counts = dict(zip(batch.counts, (succeeded, failed), strict=True))
    payload = rules.payload(batch.job_completed, {batch.job_id: job_id, **counts, "generation": generation})
    # The id derives from the job and its generation, so there is one such event a generation.
    event_id = uuid5(job_id, f"{payload.type}/{generation}")
    if cause is None:
        return events.new(payload, now=context.now, subject=job_id, tenant=tenant_id, event_id=event_id)
    return cause.follow(payload, context.now, subject=job_id, event_id=event_id)


def _as_json(batch: Batch[Any, Any], result: Result) -> dict[str, Any]:
    data: Payload = result.data
    values = data.model_dump(mode="json")
    columns = {name: values.get(name) for name in batch.result} | {batch.item_status: values["status"]}
    return {
        "tenant": str(result.tenant_id),
        "job": values[batch.job_id],
        "item": values[batch.item_id],
        "attempt": values["attempt"],
        "columns": columns,
    }
