"""Count the results of items: apply each once, and keep the counters of its run equal to the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row
from pydantic_core import to_json

from app.context import Connection
from events.collection import ItemCompleted

_COUNT = """
WITH said AS MATERIALIZED (
    SELECT * FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (
               run_id uuid, marketplace text, item_type text, external_id text, status text, data jsonb,
               error_code text, error_message text))
      WITH ORDINALITY AS said (run_id, marketplace, item_type, external_id, status, data, error_code, error_message,
                               n)),
matched AS MATERIALIZED (
    SELECT said.*, i.id AS item_id, i.status IN ('pending', 'processing') AS is_awaited
      FROM said JOIN collection.collection_items i USING (run_id, marketplace, item_type, external_id)),
first AS (
    SELECT DISTINCT ON (item_id) * FROM matched WHERE is_awaited ORDER BY item_id, n),
applied AS (
    UPDATE collection.collection_items i
       SET status = first.status, data = first.data, error_code = first.error_code,
           error_message = first.error_message, completed_at = statement_timestamp()
      FROM first WHERE i.id = first.item_id
    RETURNING i.run_id, i.status),
counted AS (
    UPDATE collection.collection_runs r
       SET processed_items = r.processed_items + total.processed, failed_items = r.failed_items + total.failed
      FROM (SELECT run_id, count(*) FILTER (WHERE status <> 'failed') AS processed,
                   count(*) FILTER (WHERE status = 'failed') AS failed
              FROM applied GROUP BY run_id) total
     WHERE r.id = total.run_id
    RETURNING r.id, r.status = 'running' AND r.processed_items + r.failed_items = r.total_items AS has_no_open_item)
SELECT matched.n - 1 AS place, first.n IS NOT NULL AS counts, coalesce(counted.has_no_open_item, false) AS is_last
  FROM matched LEFT JOIN first USING (n) LEFT JOIN counted ON counted.id = matched.run_id
"""


@dataclass(frozen=True, slots=True)
class Count:
    """The position of a result, whether it counts, and whether its run has no open item left."""

    place: int
    counts: bool
    is_last: bool


def count(connection: Connection, results: Sequence[ItemCompleted]) -> list[Count]:
    """Apply results of items of locked runs, and count them. Results of unknown items are left out.

    A result counts if it is the first of an item without one. Other results change nothing.
    """
    text = to_json(results).decode()
    return connection.cursor(row_factory=class_row(Count)).execute(_COUNT, [text]).fetchall()
