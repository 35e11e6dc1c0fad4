"""Build the web application: routers of the program and of its domains, problem documents, and the database pool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.concurrency import run_in_threadpool

from app import database
from app.engine.domain import wiring
from app.engine.queue.workers import version
from app.loading import routers
from app.settings import settings
from app.startup import install_wiring
from app.web import docs, health, metrics, openapi, problems, streams
from app.web.api import dead_letters, replay_plans
from app.web.headers import AnswerHeaders
from app.web.limits import BodyLimit, BodyLimits, Rate
from app.web.tokens import Verifier
from app.web.traces import Traces
from app.wiring import domains

_SESSION: dict[str, Any] = {
    "statement_timeout": "25s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "application_name": "tallyman web",
}
"""Limits of the transactions of requests, shorter than those of workers: a client waits for the answer."""
_MOST_TOKEN_CHECKS = 8
"""Tokens that are checked at once. If their issuer's keys cannot be fetched, other requests still have threads."""
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own spans and logs are off: its logs have the text of exceptions. `Traces` makes the spans."""
_ROUTERS = (health.router, metrics.router, dead_letters.router, replay_plans.router)
"""Routers that belong to no domain."""

_BUSIEST = "/webhooks"
"""The prefix of the router that is included first: routers are tried in order, and each one takes some of the time."""


def create() -> FastAPI:
    """Return the application. Its lifespan opens the pool. Raises `SetupError` for a wrong setting or router."""
    app = FastAPI(
        title="Tallyman",
        version=version(),
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
        redirect_slashes=False,  # a redirect would lead to the host that the client names
    )
    app.state.verifier = Verifier.of(settings())
    app.state.token_checks = anyio.CapacityLimiter(_MOST_TOKEN_CHECKS)
    app.state.rate = Rate(settings().api_requests_a_minute)
    app.state.refusals = Rate(settings().api_refusals_a_minute)
    app.state.metrics = metrics.Snapshot()
    problems.install(app)
    openapi.install(app)
    docs.install(app)
    streams.install(app)
    found = [*_ROUTERS, *(router for domain in domains() for router in routers(domain))]
    for router in sorted(found, key=lambda router: router.prefix != _BUSIEST):
        app.include_router(router)
    # The last one runs first: its span has the whole request, and the headers of the one before are on every answer.
    app.add_middleware(BodyLimit, limits=BodyLimits.of(settings()))
    app.add_middleware(problems.Unexpected)
    app.add_middleware(AnswerHeaders)
    app.add_middleware(Traces)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    install_wiring()
    await run_in_threadpool(wiring)
    app.state.pool = await run_in_threadpool(lambda: database.pool(max_size=settings().web_connections, **_SESSION))
    try:
        async with streams.running(app):
            yield
    finally:
        await run_in_threadpool(app.state.pool.close)
