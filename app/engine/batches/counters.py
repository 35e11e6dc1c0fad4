"""Tally: the counters of batches, exact at every commit.

The order is the same everywhere: `lock()` the jobs by id, change their items, `count()` what changed. What `count()`
returns as finished is finished by this very transaction and by no other: the caller says so in the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from app.context import Connection


@dataclass(frozen=True, slots=True)
class Batch:
    """A table of jobs: the column with the number of items, and the two that count how items ended."""

    schema: str
    table: str
    total: str
    succeeded: str
    failed: str

    @property
    def name(self) -> sql.Identifier:
        """The table, qualified and quoted."""
        return sql.Identifier(self.schema, self.table)


@dataclass(frozen=True, slots=True)
class Tallied:
    """A job's counters after a change; `is_done` when this change completed it."""

    job_id: UUID
    total: int
    succeeded: int
    failed: int
    is_done: bool


_LOCK = sql.SQL("SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR UPDATE")
_COUNT = sql.SQL("""
UPDATE {table} AS job
   SET {succeeded} = job.{succeeded} + change.succeeded, {failed} = job.{failed} + change.failed
  FROM jsonb_to_recordset(%s) AS change (id uuid, succeeded integer, failed integer)
 WHERE job.id = change.id
RETURNING job.id, job.{total}, job.{succeeded}, job.{failed}, change.succeeded + change.failed > 0
""")


def lock(connection: Connection, batch: Batch, job_ids: Sequence[UUID]) -> list[UUID]:
    """Lock jobs in the order of their ids until the transaction ends; returns those that exist."""
    rows = connection.execute(_LOCK.format(table=batch.name), [list(job_ids)])
    return [job_id for (job_id,) in rows]


def count(connection: Connection, batch: Batch, changes: Mapping[UUID, tuple[int, int]]) -> list[Tallied]:
    """Add to the counters of locked jobs how many more items succeeded and failed (less, when negative)."""
    if not changes:
        return []
    query = _COUNT.format(
        table=batch.name,
        total=sql.Identifier(batch.total),
        succeeded=sql.Identifier(batch.succeeded),
        failed=sql.Identifier(batch.failed),
    )
    rows: list[dict[str, Any]] = [
        {"id": str(job_id), "succeeded": succeeded, "failed": failed} for job_id, (succeeded, failed) in changes.items()
    ]
    return [
        Tallied(job_id, total, succeeded, failed, is_done=grew and succeeded + failed == total)
        for job_id, total, succeeded, failed, grew in connection.execute(query, [Jsonb(rows)])
    ]
