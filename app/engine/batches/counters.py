"""Item counters of jobs, exact at every commit.

Every caller uses the same order: `lock()` the jobs by id, change their items, `count()` the change. If `count()`
returns a job as done, only this transaction completes it, and the caller publishes the completion in the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from app.context import Connection
from app.engine.batches.statements import statement
from app.engine.batches.tables import JobTable


@dataclass(frozen=True, slots=True)
class Counted:
    """A job's counters after a change. `is_done`: this change completed the job."""

    job_id: UUID
    total: int
    succeeded: int
    failed: int
    is_done: bool


_LOCK = "SELECT id FROM {jobs} WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
_COUNT = """
UPDATE {jobs} AS job
   SET {succeeded} = job.{succeeded} + change.succeeded, {failed} = job.{failed} + change.failed
  FROM jsonb_to_recordset(%s) AS change (id uuid, succeeded integer, failed integer)
 WHERE job.id = change.id
RETURNING job.id, job.{total}, job.{succeeded}, job.{failed}, change.succeeded + change.failed > 0
"""


def lock(connection: Connection, table: JobTable, job_ids: Sequence[UUID]) -> list[UUID]:
    """Lock jobs in the order of their ids until the transaction ends. Returns the ids of jobs that exist."""
    rows = connection.execute(statement(table, _LOCK), [list(job_ids)])
    return [job_id for (job_id,) in rows]


def count(connection: Connection, table: JobTable, changes: Mapping[UUID, tuple[int, int]]) -> list[Counted]:
    """Add to the counters of locked jobs. Returns the new counters.

    `changes`: by job id, the numbers to add to the succeeded and the failed items; they may be negative.
    """
    if not changes:
        return []
    rows: list[dict[str, Any]] = [
        {"id": str(job_id), "succeeded": succeeded, "failed": failed} for job_id, (succeeded, failed) in changes.items()
    ]
    return [
        Counted(job_id, total, succeeded, failed, is_done=grew and succeeded + failed == total)
        for job_id, total, succeeded, failed, grew in connection.execute(statement(table, _COUNT), [Jsonb(rows)])
    ]
