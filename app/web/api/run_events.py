"""`/v1/runs/{run_id}/events`: the progress of a collection run as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.sse import ServerSentEvent

from app.collection.progress import RunProgress
from app.collection.watched import RUNS, find_progress
from app.web.api.paths import RunId
from app.web.streams import ROUTE, Asking, Feed, Stream

router = APIRouter(prefix="/v1", tags=["runs"])

_RUNS = Feed("run", RUNS, find_progress)


async def _stream(run_id: RunId, asking: Annotated[Asking, Depends()]) -> AsyncIterator[Stream[RunProgress]]:
    async with asking.stream(_RUNS, run_id) as stream:
        yield stream


@router.get("/runs/{run_id}/events", **ROUTE)
async def run_events(stream: Annotated[Stream[RunProgress], Depends(_stream)]) -> AsyncIterator[ServerSentEvent]:
    """Stream the counters and costs of a run: first as they are, then after each change, until it has ended."""
    async for event in stream.events():
        yield event
