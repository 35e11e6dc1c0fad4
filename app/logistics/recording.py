"""Record the results of robots, and mark the orders of successful results as shipped.

Lock order: jobs by id, then items by id, then orders by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from app.context import HandlerContext
from app.engine.batches.results import Applied, Result, complete, lock_jobs, refuse_mismatched
from app.engine.batches.tables import Batch
from app.logistics import order_changes
from app.logistics.order_changes import Tracking
from events import Event

# One statement, so that the JSON is parsed once. All items are locked in the order of their ids before any is changed,
# because the window function needs all rows.
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
matched AS (
    SELECT said.*, item.order_id, item.is_open AND item.retry_count = said.attempt AS is_awaited
      FROM said
      JOIN locked item ON item.id = said.item_id AND item.job_id = said.job_id
      JOIN logistics.robot_jobs job ON job.id = item.job_id AND job.workspace_id = said.workspace_id),
verdicts AS MATERIALIZED (
    SELECT *, is_awaited AND row_number() OVER (PARTITION BY item_id, is_awaited ORDER BY n) = 1 AS counts
      FROM matched),
applied AS (
    UPDATE logistics.robot_job_items AS item
       SET status = said.status, tracking_number = said.tracking_number, validated_city = said.validated_city,
           value_sent = said.value_sent, error_type = said.error_type, error_message = said.error_message,
           completed_at = statement_timestamp(), started_at = coalesce(item.started_at, statement_timestamp())
      FROM verdicts said
     WHERE item.id = said.item_id AND said.counts)
SELECT n - 1, counts, CASE WHEN counts AND tracking_number IS NOT NULL THEN order_id END FROM verdicts ORDER BY n
"""


def record(context: HandlerContext, batch: Batch[Any, Any], results: Sequence[Result]) -> Applied:
    """Record results of any workspaces in the caller's transaction. The caller publishes `follow`.

    If an item does not belong to the job or workspace of its result, raises `FailingEvents`, or `NotFound` for results
    without an event.
    """
    connection = context.connection
    text = "[" + ",".join(_one_as_json(result) for result in results) + "]"
    lock_jobs(connection, batch, results)
    matched = connection.execute(_RECORD, {"results": text}).fetchall()
    refuse_mismatched(batch, results, [n for n, _, _ in matched])
    shipping = {n: order_id for n, counts, order_id in matched if counts}
    shipped = _ship(context, results, shipping)
    applied = complete(context, batch, results, [results[n] for n in shipping])
    return replace(applied, follow=[*shipped, *applied.follow])


def _one_as_json(result: Result) -> str:
    data = result.data.__pydantic_serializer__.to_json(result.data).decode()
    return f'{{"workspace_id":"{result.tenant_id}",{data[1:]}'


def _ship(context: HandlerContext, results: Sequence[Result], shipping: dict[int, UUID | None]) -> list[Event[Any]]:
    shipped = [
        Tracking(results[n].tenant_id, order_id, results[n].data.tracking_number or "", results[n].cause)
        for n, order_id in shipping.items()
        if order_id is not None
    ]
    return list(order_changes.set_tracking_numbers(context, shipped))
