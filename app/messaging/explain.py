"""Explain why a message's job has not ended, or how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from app.context import Connection
from app.engine.batches.explainers import Lost
from app.engine.inspect.explain import explain
from app.engine.inspect.reasons import Reason
from app.errors import NotFound, SetupError
from app.messaging import store
from app.messaging.processors import processor
from app.messaging.reasons import MessageEnded, NoProcessor
from app.messaging.store import Job


def explain_job(connection: Connection, job_id: UUID) -> list[Reason]:
    """Return the reasons why a message's job has not ended, or how it ended. Raises `NotFound`."""
    job = store.find_job(connection, str(job_id))
    if job is None:
        raise NotFound(f"job: there is no message job {job_id}; `messages list` shows them")
    waiting = explain(connection, {"subject": str(job_id)})
    if job.completed_at is not None:
        return [MessageEnded(job.status, job.content_type, job.completed_at, job.error_message), *waiting]
    return [*_obstacles(job), *(waiting or [Lost()])]


def _obstacles(job: Job) -> Iterator[Reason]:
    if job.content_type is not None:
        try:
            processor(job.content_type)
        except SetupError as error:
            yield NoProcessor(str(error))
