"""The limit: the statements that apply results, without a queue and without Python between them.

No consumer on this PostgreSQL can apply results faster in chunks of this size on one connection: events and results are
JSON in memory, and nothing is fetched, parsed, acknowledged or published.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import LiteralString
from uuid import UUID

from app.bench.job_fixtures import JobFixtures
from app.bench.temporary_database import TemporaryDatabase
from app.context import Connection
from events import Event
from events.robot import ItemCompleted

CHUNK = 500

_LOCK_JOBS: LiteralString = "SELECT id FROM logistics.robot_jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
_LEDGER: LiteralString = """
INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, causation_id, data, occurred_at)
SELECT e.id, e.type, 1, e.tenantid, e.subject, NULL, e.data, e.time
  FROM jsonb_to_recordset(%s::jsonb)
       AS e (id uuid, type text, tenantid uuid, subject uuid, data jsonb, time timestamptz)
 ORDER BY e.id
ON CONFLICT DO NOTHING
"""
_LOCK_ITEMS: LiteralString = """
SELECT id, status, retry_count FROM logistics.robot_job_items WHERE id = ANY(%s) ORDER BY id FOR UPDATE
"""
_APPLY: LiteralString = """
UPDATE logistics.robot_job_items AS item
   SET status = r.status, tracking_number = r.tracking_number, validated_city = r.validated_city,
       error_type = r.error_type, error_message = r.error_message, completed_at = now()
  FROM jsonb_to_recordset(%s::jsonb)
       AS r (item_id uuid, status text, tracking_number text, validated_city text, error_type text, error_message text)
 WHERE item.id = r.item_id
"""
_COUNT: LiteralString = """
WITH counted AS (
    UPDATE logistics.robot_jobs AS job
       SET success_count = job.success_count + change.succeeded, error_count = job.error_count + change.failed
      FROM jsonb_to_recordset(%s::jsonb) AS change (id uuid, succeeded integer, failed integer)
     WHERE job.id = change.id
    RETURNING job.id, job.workspace_id, success_count + error_count = total_items AS is_done)
INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, data, occurred_at)
SELECT gen_random_uuid(), 'robot/job.completed', 1, workspace_id, id, '{}', now() FROM counted WHERE is_done
"""
_FINISH: LiteralString = """
UPDATE logistics.robot_jobs SET status = CASE WHEN success_count > 0 THEN 'completed' ELSE 'failed' END,
       completed_at = now()
 WHERE id = ANY(%s) AND success_count + error_count = total_items
"""
_SHIP: LiteralString = """
WITH shipped AS (
    UPDATE logistics.orders o SET status = 'shipped', tracking_number = r.tracking_number
      FROM jsonb_to_recordset(%s::jsonb) AS r (item_id uuid, tracking_number text)
      JOIN logistics.robot_job_items i ON i.id = r.item_id
     WHERE o.id = i.order_id
    RETURNING o.id, o.workspace_id, o.tracking_number)
INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, data, occurred_at)
SELECT gen_random_uuid(), 'order/updated', 1, workspace_id, id,
       jsonb_build_object('order_id', id, 'before', jsonb_build_object('status', 'pending', 'tracking_number', NULL),
                          'after', jsonb_build_object('status', 'shipped', 'tracking_number', tracking_number)), now()
  FROM shipped
"""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The parameters of one transaction's statements."""

    job_ids: list[UUID]
    item_ids: list[UUID]
    events: str
    results: str
    counts: str


def drain(temp_database: TemporaryDatabase, fixtures: JobFixtures) -> float:
    """Apply every result of the fixtures, `CHUNK` a transaction on one connection. Returns the seconds."""
    chunks = list(_chunks(fixtures.said))
    with temp_database.connect() as connection:
        began = time.perf_counter()
        for chunk in chunks:
            with connection.transaction():
                _apply(connection, chunk, shipped=fixtures.shipped)
        return time.perf_counter() - began


def _apply(connection: Connection, chunk: _Chunk, *, shipped: bool) -> None:
    connection.execute(_LOCK_JOBS, [chunk.job_ids])
    connection.execute(_LEDGER, [chunk.events])
    connection.execute(_LOCK_ITEMS, [chunk.item_ids])
    connection.execute(_APPLY, [chunk.results])
    if shipped:
        connection.execute(_SHIP, [chunk.results])
    connection.execute(_COUNT, [chunk.counts])
    connection.execute(_FINISH, [chunk.job_ids])


def _chunks(said: Sequence[Event[ItemCompleted]]) -> Iterator[_Chunk]:
    stream = iter(said)
    while chunk := list(islice(stream, CHUNK)):
        yield _Chunk(
            sorted({event.data.job_id for event in chunk}),
            [event.data.item_id for event in chunk],
            f"[{b','.join(event.json_bytes() for event in chunk).decode()}]",
            json.dumps([event.data.model_dump(mode="json") for event in chunk]),
            json.dumps(_counts(chunk)),
        )


def _counts(chunk: Sequence[Event[ItemCompleted]]) -> list[dict[str, object]]:
    counted = Counter((event.data.job_id, event.data.status) for event in chunk)
    return [
        {"id": str(job_id), "succeeded": counted[job_id, "success"], "failed": counted[job_id, "error"]}
        for job_id in sorted({job_id for job_id, _ in counted})
    ]
