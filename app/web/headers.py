"""Headers of every answer: an id for the log, and what browsers may do with it. Logs each request."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events import new_id

log = structlog.get_logger(__name__)

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Ids of requests that are taken over from a proxy. Others are replaced: they could forge lines of a log."""
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not set them itself."""

_SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY.items()]
ROUTINE = frozenset({"/healthz", "/readyz", "/metrics", "/webhooks/twilio/{endpoint_token}"})
"""Routes whose success is logged at the level DEBUG: probes, and messages, which leave a job each. They are many."""


class AnswerHeaders:
    """Middleware: adds the request's id and the security headers, and logs the request with its status and time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. The lines that it logs have the id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("x-request-id", "")
        request_id = wanted if _ID.fullmatch(wanted) else str(new_id())
        began, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message["headers"]
                own = {name.lower() for name, _ in given}
                missing = [one for one in _SECURITY if one[0] not in own]
                message["headers"] = [*given, (b"x-request-id", request_id.encode()), *missing]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, sent)
            finally:
                took = round(1000 * (time.perf_counter() - began), 1)
                route = route_of(scope)
                write = log.debug if status == HTTPStatus.OK and route in ROUTINE else log.info
                write("request", method=scope["method"], route=route, status=status, ms=took)


def route_of(scope: Scope) -> str | None:
    """Return the path of the route that serves a request, or None. The path that was called may hold a secret."""
    route: Any = scope.get("route")
    return getattr(route, "path", None)
