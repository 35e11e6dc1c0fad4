"""Progress of jobs: the same counters for one who watches and for the hub that reads for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from app import database as doors
from app.context import Connection, Context
from app.engine import batches, domain
from app.engine.batches.progress import JobProgress, find_progress, source
from app.testing.drain import drain_all
from events import new_id
from tests.conftest import Database
from tests.helpers import songs
from tests.helpers.cards import PRINTS, Office
from tests.helpers.songs import SONGS


def read(batch: batches.Batch[Any, Any], job_ids: Sequence[UUID]) -> list[JobProgress]:
    """Read as the hub does."""

    async def reading() -> list[JobProgress]:
        async with await psycopg.AsyncConnection.connect(doors.conninfo()) as connection:
            return list(await source(batch).read(connection, job_ids))

    return asyncio.run(reading())


def test_progress_has_the_counters_and_the_generation(office: Office, connection: Connection) -> None:
    """A job is over once all its items have results, until a retry begins its next generation."""
    job = office.submit("Main Street", "nowhere")
    before = find_progress(PRINTS, connection, job.id)
    assert before is not None
    assert (before.status, before.total_items, before.success_count, before.is_over) == ("pending", 2, 0, False)
    drain_all(connection)
    (done,) = read(PRINTS, [job.id, new_id()])
    assert done == find_progress(PRINTS, connection, job.id)
    assert (done.success_count, done.error_count, done.generation, done.is_over) == (1, 1, 1, True)
    batches.retry_failed(office.context, PRINTS, job.id)
    again = find_progress(PRINTS, connection, job.id)
    assert again is not None
    assert (again.error_count, again.generation, again.is_over) == (0, 2, False)


def test_a_cancelled_job_says_so(office: Office, connection: Connection) -> None:
    """Before its calls under way have ended."""
    job = office.submit("Main Street")
    batches.cancel(office.context, PRINTS, job.id, actor="Ana", reason="a mistake")
    assert [one.is_cancelled for one in read(PRINTS, [job.id])] == [True]


def test_columns_may_have_other_names(database: Database, connection: Connection) -> None:
    """Progress has the same fields for every batch."""
    songs.install(database)
    with domain.use(songs.WIRING):
        song = batches.submit(Context.start(connection, new_id()), SONGS, [{"variant_number": 1}], request={})
    assert [(one.id, one.total_items) for one in read(SONGS, [song.id])] == [(song.id, 1)]
