"""Limits of requests: body size and time, requests of a client, open streams. Limits over all processes stay in SQL."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from fastapi import HTTPException
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import Settings
from app.web.problems import ProblemError, problem

_UPLOADS = ("/v1/", "/import")
"""How the paths that take uploads begin and end. They need a token before the body is read."""


class Rate:
    """Limits the requests of each client within a minute. A refused request does not count.

    The window moves: a fixed one lets a client pass twice the number around its end.
    """

    def __init__(self, requests_a_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(requests_a_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def take(self, client: str) -> None:
        """Count a request of `client`. Raises `ProblemError`: 429 with `Retry-After`."""
        if self._limiter.hit(self._limit, client):
            return
        reset = self._limiter.get_window_stats(self._limit, client).reset_time
        wait = max(1, math.ceil(reset - time.time()))
        raise ProblemError(
            429,
            f"more than {self._limit.amount} requests within a minute; wait {wait} s",
            headers={"Retry-After": str(wait)},
        )


class OpenStreams:
    """Counts the open streams of each person. A stream holds a connection and a socket for as long as it likes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[UUID] = Counter()

    @contextmanager
    def one(self, user_id: UUID) -> Iterator[None]:
        """Count a stream within a block. Raises `ProblemError`: 429."""
        if self._counts[user_id] >= self._most:
            raise ProblemError(429, f"you have {self._most} open streams: close one", headers={"Retry-After": "5"})
        self._counts[user_id] += 1
        try:
            yield
        finally:
            self._counts[user_id] -= 1
            if not self._counts[user_id]:
                del self._counts[user_id]


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """`most` and `most_upload`: bytes of a body. `seconds`: time in which it must arrive."""

    most: int
    most_upload: int
    seconds: float

    @classmethod
    def of(cls, given: Settings) -> BodyLimits:
        """Return the limits that the settings name."""
        return cls(given.web_body_bytes, given.web_upload_bytes, given.web_body_timeout)

    def bytes_of(self, path: str) -> int:
        """Return the bytes that a body may have."""
        begin, end = _UPLOADS
        return self.most_upload if path.startswith(begin) and path.endswith(end) else self.most


class BodyLimit:
    """Middleware: a body that is too large is answered with 413, one that does not arrive in time with 408."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with a body that is counted as it is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.limits.bytes_of(scope["path"])
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            await problem(413, _too_large(most))(scope, receive, send)
            return
        await self.app(scope, _counted(receive, most, self.limits.seconds), send)


def _counted(receive: Receive, most: int, seconds: float) -> Receive:
    read = 0
    is_complete = False
    deadline: float | None = None

    async def counted() -> Message:
        nonlocal read, is_complete, deadline
        if is_complete:  # what follows is the end of the connection, for which a stream may wait for long
            return await receive()
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {seconds:g} s") from None
        read += len(message.get("body", b""))
        if read > most:
            # FastAPI passes on an HTTPException that is raised while it reads a body, and no other.
            raise HTTPException(413, _too_large(most))
        is_complete = not message.get("more_body", False)
        return message

    return counted


def _too_large(most: int) -> str:
    return f"the body is larger than {most} bytes"
