"""Tenants that wait for their shares, and the queue's connections of a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from procrastinate import PsycopgConnector

from app.engine.worker.app import fresh_connector
from events import Event
from tests.helpers.toy import Wanted, want

A, B, C, D, E = (UUID(int=n) for n in range(1, 6))
NAMES = {str(tenant): name for name, tenant in zip("ABCDE", (A, B, C, D, E), strict=True)}


def wants(tenant: UUID | None, count: int, limit: str | None = None) -> list[Event[Wanted]]:
    """Return calls of a tenant."""
    return [want(f"{NAMES.get(str(tenant), '-')}{n}", tenant=tenant, limit=limit) for n in range(count)]


@asynccontextmanager
async def queue() -> AsyncIterator[PsycopgConnector]:
    """Connections of a worker."""
    connector = fresh_connector()
    await connector.open_async()
    try:
        yield connector
    finally:
        await connector.close_async()
