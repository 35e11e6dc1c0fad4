"""Traces of requests: continue the trace of the header `traceparent` to published events and outside calls."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import tracing
from app.web.headers import route_of

_SERVER_ERROR = 500


class Traces:
    """Middleware: runs each request in a span, named by its method and route."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. A malformed header, or several, count as none."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, given = scope["method"], Headers(scope=scope).getlist("traceparent")
        parents = given if len(given) == 1 else ()
        with tracing.span(method, "server", parents=parents, attributes={"http.request.method": method}) as span:
            if span is None:
                await self.app(scope, receive, send)
                return

            async def sent(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _SERVER_ERROR:
                        tracing.fail(span, str(message["status"]))
                await send(message)

            try:
                await self.app(scope, receive, sent)
            finally:
                if route := route_of(scope):
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
