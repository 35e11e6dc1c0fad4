"""`/v1/jobs/{job_id}/events`: the progress of a robot job as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.sse import ServerSentEvent

from app.engine.batches.progress import JobProgress, find_progress, source
from app.logistics.store import ROBOT_JOBS
from app.web.api.paths import JobId
from app.web.streams import ROUTE, Asking, Feed, Stream

router = APIRouter(prefix="/v1", tags=["jobs"])

_JOBS = Feed("job", source(ROBOT_JOBS), partial(find_progress, ROBOT_JOBS))


async def _stream(job_id: JobId, asking: Annotated[Asking, Depends()]) -> AsyncIterator[Stream[JobProgress]]:
    async with asking.stream(_JOBS, job_id) as stream:
        yield stream


@router.get("/jobs/{job_id}/events", **ROUTE)
async def job_events(stream: Annotated[Stream[JobProgress], Depends(_stream)]) -> AsyncIterator[ServerSentEvent]:
    """Stream the counters of a job: first as they are, then after each change, until it has ended."""
    async for event in stream.events():
        yield event
