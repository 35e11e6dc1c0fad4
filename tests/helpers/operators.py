"""A worker for tests of operators' tools that ends although rows wait."""

from __future__ import annotations

import asyncio
from typing import Any

from procrastinate import psycopg_connector

from app.engine.worker.app import _pool, app, load_arguments


def work_once(*, queues: list[str] | None = None, concurrency: int = 4) -> None:
    """Run a real worker until it finds no row that it may fetch."""

    async def run() -> None:
        # A worker of an earlier test had another event loop; its pool cannot be used again.
        connector = psycopg_connector.PsycopgConnector(
            json_loads=load_arguments, pool_factory=_pool, min_size=1, max_size=4
        )
        options: dict[str, Any] = {"concurrency": concurrency, "queues": queues, "name": "once"}
        with app.replace_connector(connector):
            async with app.open_async():
                await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False, **options)

    asyncio.run(run())
