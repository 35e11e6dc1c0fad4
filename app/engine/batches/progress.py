"""Progress of jobs: their status and counters, for people who watch them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from app.context import Connection
from app.engine.batches.rules import JobStatus
from app.engine.batches.statements import statement
from app.engine.batches.tables import Batch
from app.engine.viewers import Source

_PROGRESS: LiteralString = """
SELECT id, status, generation, {total} AS total_items, {succeeded} AS success_count, {failed} AS error_count,
       cancelled_at IS NOT NULL AS is_cancelled, started_at, completed_at
  FROM {jobs} WHERE id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A job's status and counters. `is_cancelled`: no further call begins in this generation."""

    id: UUID
    status: JobStatus
    generation: int
    total_items: int
    success_count: int
    error_count: int
    is_cancelled: bool
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether the job has ended. A retry of failed items begins its next generation."""
        return self.status in {"completed", "failed"}


def find_progress(batch: Batch[Any, Any], connection: Connection, job_id: UUID) -> JobProgress | None:
    """Return the progress of a job that the connection's role may see, or None."""
    cursor = connection.cursor(row_factory=class_row(JobProgress))
    return cursor.execute(statement(batch, _PROGRESS), [[job_id]]).fetchone()


async def read_progress(
    batch: Batch[Any, Any], connection: psycopg.AsyncConnection[Any], job_ids: Sequence[UUID]
) -> list[JobProgress]:
    """Return the progress of jobs of any tenant. Ids without a job are left out."""
    cursor = connection.cursor(row_factory=class_row(JobProgress))
    await cursor.execute(statement(batch, _PROGRESS), [list(job_ids)])
    return await cursor.fetchall()


def source(batch: Batch[Any, Any]) -> Source[JobProgress]:
    """Return the jobs of a batch as rows that can be watched."""
    return Source(batch.table, partial(read_progress, batch))
