"""Runs as rows that people watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from app.collection import store
from app.collection.progress import RunProgress, progress_of
from app.context import Connection
from app.engine.viewers import Source


def find_progress(connection: Connection, run_id: UUID) -> RunProgress | None:
    """Return the progress of a run that the connection's role may see, or None."""
    run = store.any_run(connection, run_id)
    return None if run is None else progress_of(run)


async def _read(connection: psycopg.AsyncConnection[Any], run_ids: Sequence[UUID]) -> list[RunProgress]:
    return [progress_of(run) for run in await store.read_runs(connection, run_ids)]


RUNS = Source("collection.collection_runs", _read)
