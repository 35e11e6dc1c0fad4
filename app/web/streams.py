"""Progress streams: the state of a job as server-sent events, first as it is, then after each change.

    event: state    the counters, as JSON. It alone carries an id, which names this state of this job
    event: end      the job has ended, and its last state was sent: do not connect again
    event: close    the stream stops for another reason, `{"reason": …}`: open a new one
    : ping          a comment after each 15 s without an event

A state is a committed fact that replaces the ones before, so a client resumes by the id of the last state that it got
(`Last-Event-ID`): if the job still has this state, nothing is sent before the next change. Any other id, of another
job or of long ago, gets the state. A client that comes back for an ended job with the id of its last state gets 204,
which also stops an `EventSource`.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar, cast
from uuid import UUID

import anyio
import psycopg
import structlog
from anyio.to_thread import run_sync
from fastapi import FastAPI, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from psycopg_pool import PoolTimeout
from pydantic_core import to_json

from app import database
from app.context import Connection
from app.engine.hub import Hub
from app.engine.viewers import Closed, Source, Viewer, Watched
from app.errors import NotFound
from app.settings import settings
from app.web.access import CurrentPerson, Pool
from app.web.limits import OpenStreams
from app.web.openapi import problems_of

_CHECK_EVERY_S = 30.0
"""After this time the person's access is checked again."""
_CHECK_AGAIN_S = 5.0
"""Pause after a check that the database did not answer."""
_UNCHECKED_S = 120.0
"""A stream whose access could not be checked for so long is closed."""
_MOST_CHECKS = 4
"""Checks at once, so that streams leave threads and connections to other requests."""
_RETRY_MS = (1000, 3000)
"""An `EventSource` connects again after a time in this range: random, so that not all viewers come back at once."""

_log = structlog.get_logger("tallyman.streams")


class Progress(Watched, Protocol):
    """A state that is streamed: a dataclass, sent as JSON."""

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""


StateT = TypeVar("StateT", bound=Progress)


@dataclass(frozen=True, slots=True, eq=False)
class Feed(Generic[StateT]):
    """What is streamed. `noun`: its name in messages. `find`: a row's state if the connection's role may see it."""

    noun: str
    source: Source[StateT]
    find: Callable[[Connection, UUID], StateT | None]


class _Complete(Exception):
    """The client has the last state of a job that has ended."""


class Asking:
    """The dependency of a stream: the person, and the last event that this client got."""

    def __init__(
        self,
        request: Request,
        person: CurrentPerson,
        pool: Pool,
        last_event_id: Annotated[str | None, Header(description="The id of the last state that was received.")] = None,
    ) -> None:
        self.person = person
        self.last_event_id = last_event_id
        self._pool = pool
        self._hub = cast("Hub", request.app.state.hub)
        self._open = cast("OpenStreams", request.app.state.open_streams)
        self._checks = cast("anyio.CapacityLimiter", request.app.state.stream_checks)

    @asynccontextmanager
    async def stream(self, feed: Feed[StateT], row_id: UUID) -> AsyncIterator[Stream[StateT]]:
        """Open a stream. Raises `NotFound` if the person does not see the row."""
        state = await self.look(feed, row_id)
        if state is None:
            raise NotFound(f"{feed.noun}: {row_id} does not exist, or is not yours")
        if state.is_over and event_id(state) == self.last_event_id:
            raise _Complete
        with self._open.one(self.person.user_id), self._hub.viewers.join(feed.source, row_id) as viewer:
            yield Stream(feed, self, state, viewer)

    async def look(self, feed: Feed[StateT], row_id: UUID) -> StateT | None:
        """Return the state of a row, or None if the person does not see it."""
        return await run_sync(self._look, feed, row_id, limiter=self._checks)

    def _look(self, feed: Feed[StateT], row_id: UUID) -> StateT | None:
        with self._pool.connection() as connection, database.as_person(connection, self.person.user_id):
            return feed.find(connection, row_id)


class Stream(Generic[StateT]):
    """One stream, from its first state to its last event."""

    def __init__(self, feed: Feed[StateT], asking: Asking, first: StateT, viewer: Viewer[StateT]) -> None:
        self._feed = feed
        self._asking = asking
        self._first = first
        self._viewer = viewer
        now = asyncio.get_running_loop().time()
        self._expires_at = now + asking.person.until - time.time()
        self._checked_at = now
        self._check_at = now + _CHECK_EVERY_S

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield events until the last one. A failure is an event too: without it, it would look like a complete end."""
        sent = self._asking.last_event_id
        news: StateT | Closed = self._first
        try:
            yield ServerSentEvent(retry=random.randint(*_RETRY_MS))
            while not isinstance(news, Closed):
                if (its_id := event_id(news)) != sent:
                    yield ServerSentEvent(event="state", id=its_id, raw_data=to_json(news).decode())
                    sent = its_id
                if news.is_over:
                    yield ServerSentEvent(event="end", data={})
                    return
                news = await self._next()
            yield _close(news.reason)
        except Exception:  # noqa: BLE001 - the outermost edge of a stream: whatever fails, the client is told
            _log.exception("stream_failed", feed=self._feed.noun)
            yield _close("error")

    async def _next(self) -> StateT | Closed:
        """Wait for news, and check in between that the person still may have them."""
        while (end := await self._check()) is None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(self._check_at, self._expires_at)):
                    return await self._viewer.next()
        return end

    async def _check(self) -> Closed | None:
        """Return why the stream must end, or None. Asks the database when it is time."""
        now = asyncio.get_running_loop().time()
        if now >= self._expires_at:
            return Closed("token-expired")
        if now < self._check_at:
            return None
        try:
            seen = await self._asking.look(self._feed, self._first.id)
        except (psycopg.OperationalError, PoolTimeout):
            self._check_at = now + _CHECK_AGAIN_S
            return Closed("unavailable") if now > self._checked_at + _UNCHECKED_S else None
        self._checked_at, self._check_at = now, now + _CHECK_EVERY_S
        return Closed("gone") if seen is None else None


def event_id(state: Progress) -> str:
    """Return the id of a state: its job, and a hash of everything that it says."""
    return f"{state.id}.{hashlib.sha256(to_json(state)).hexdigest()[:16]}"


def _close(reason: str) -> ServerSentEvent:
    return ServerSentEvent(event="close", data={"reason": reason})


ROUTE: dict[str, Any] = {
    "response_class": EventSourceResponse,
    "responses": {
        200: {"description": "Server-sent events: `state`, then one of `end` and `close`."},
        204: {"description": "It has ended, and `Last-Event-ID` is its last state."},
        **problems_of(404),
    },
}
"""The arguments of the route of a stream."""


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Serve streams within a block: within the application's lifespan."""
    hub = app.state.hub = Hub()
    app.state.open_streams = OpenStreams(settings().api_streams_a_person)
    app.state.stream_checks = anyio.CapacityLimiter(_MOST_CHECKS)
    async with hub.running():
        try:
            yield
        finally:
            stop(app)


def stop(app: FastAPI) -> None:
    """Let all streams end with `close`, also those that are being opened."""
    app.state.hub.viewers.close("stopping")


def install(app: FastAPI) -> None:
    """Install the answer 204."""
    app.add_exception_handler(_Complete, _no_content)


async def _no_content(_request: Request, _error: Exception) -> Response:
    return Response(status_code=204)
