"""Plain Procrastinate: the same work, as its documentation describes.

One event and one transaction a task: lock the job's row, insert into the ledger, change the item and the counters, and
defer follow-up tasks on the same connection. Tasks are coroutines, arguments are keyword arguments, finished rows stay.
It uses the same tables, database and role as the program.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import procrastinate
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from app import database
from app.bench.job_fixtures import JobFixtures
from app.bench.temporary_database import TemporaryDatabase
from app.bench.worker import clear_desk

QUEUE = "plain"
CONCURRENCY = 1
"""Procrastinate's default. More are no faster here, because all tasks lock the same job's row."""

_LOCK_JOB = "SELECT total_items, success_count, error_count FROM logistics.robot_jobs WHERE id = %s FOR UPDATE"
_LEDGER = """
INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, data, occurred_at)
VALUES (%s, %s, 1, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING event_id
"""
_ITEM = "SELECT status, retry_count, order_id FROM logistics.robot_job_items WHERE id = %s FOR UPDATE"
_APPLY = """
UPDATE logistics.robot_job_items
   SET status = %(status)s, tracking_number = %(tracking_number)s, validated_city = %(validated_city)s,
       error_type = %(error_type)s, error_message = %(error_message)s, completed_at = now()
 WHERE id = %(item_id)s
"""
_SHIP = "UPDATE logistics.orders SET status = 'shipped', tracking_number = %s WHERE id = %s"
_COUNT = """
UPDATE logistics.robot_jobs SET success_count = success_count + %s, error_count = error_count + %s WHERE id = %s
"""
_FINISH = """
UPDATE logistics.robot_jobs SET status = CASE WHEN success_count > 0 THEN 'completed' ELSE 'failed' END,
       completed_at = now() WHERE id = %s
"""
_ABSENT = dict.fromkeys(("tracking_number", "validated_city", "error_type", "error_message"))


@dataclass(slots=True)
class _Progress:
    """The number of applied results, and the event that stops the worker after `most`."""

    most: int
    counted: int = 0
    stop: asyncio.Event | None = None

    def one_more(self) -> None:
        self.counted += 1
        if self.counted >= self.most and self.stop is not None:
            self.stop.set()


class Plain:
    """A Procrastinate app as in its documentation, with the tasks of a fan-in."""

    def __init__(self, temp_database: TemporaryDatabase) -> None:
        self.conninfo = database.conninfo(temp_database.url)
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self.conninfo))
        self.pool: AsyncConnectionPool[AsyncConnection[Any]]
        self.progress = _Progress(0)
        self.completed = self.app.task(name="plain_job_completed", queue=QUEUE)(self._completed)
        self.updated = self.app.task(name="plain_order_updated", queue=QUEUE)(self._updated)
        self.counted = self.app.task(name="plain_item_completed", queue=QUEUE)(self._counted)

    def publish(self, fixtures: JobFixtures) -> float:
        """Defer a task for every result with `batch_defer`. Returns the seconds."""
        arguments = [json.loads(event.json_bytes()) for event in fixtures.said]
        with clear_desk():
            return asyncio.run(self._publish(arguments))

    def drain(self, most: int) -> float:
        """Apply results until `most` are applied. Returns results a second."""
        with clear_desk():
            return asyncio.run(self._drain(most))

    async def _publish(self, arguments: Sequence[dict[str, Any]]) -> float:
        async with self.app.open_async():
            began = time.perf_counter()
            tasks: list[dict[str, Any]] = [{"event": one} for one in arguments]
            await self.counted.batch_defer_async(*tasks)
            return time.perf_counter() - began

    async def _drain(self, most: int) -> float:
        self.progress = _Progress(most, stop=asyncio.Event())
        async with self.app.open_async(), AsyncConnectionPool(self.conninfo, min_size=2, max_size=8) as self.pool:
            began = time.perf_counter()
            worker = asyncio.create_task(
                self.app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=CONCURRENCY,
                    wait=False,
                    install_signal_handlers=False,
                    listen_notify=False,
                )
            )
            enough = asyncio.create_task(self.progress.stop.wait()) if self.progress.stop else worker
            await asyncio.wait({worker, enough}, return_when=asyncio.FIRST_COMPLETED)
            seconds = time.perf_counter() - began
            worker.cancel()
            enough.cancel()
            await asyncio.gather(worker, enough, return_exceptions=True)
            return self.progress.counted / seconds

    async def _counted(self, *, event: dict[str, Any]) -> None:
        data = {**_ABSENT, **event["data"]}
        async with self.pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(_LOCK_JOB, [data["job_id"]])).fetchone()
            if row is None or not await self._enter(connection, event):
                return
            total, succeeded, failed = row
            item = await (await connection.execute(_ITEM, [data["item_id"]])).fetchone()
            if item is None or item[0] not in {"pending", "processing"} or item[1] != data["attempt"]:
                return
            await connection.execute(_APPLY, data)
            if data["tracking_number"]:
                await self._ship(connection, data, item[2])
            won = data["status"] == "success"
            await connection.execute(_COUNT, [int(won), int(not won), data["job_id"]])
            if succeeded + failed + 1 == total:
                await connection.execute(_FINISH, [data["job_id"]])
                follow: dict[str, Any] = {
                    "id": str(uuid4()),
                    "type": "robot/job.completed",
                    "data": {"job_id": data["job_id"]},
                }
                await self.completed.configure(connection=connection).defer_async(event={**event, **follow})
        self.progress.one_more()

    async def _ship(self, connection: AsyncConnection[Any], data: dict[str, Any], order_id: object) -> None:
        await connection.execute(_SHIP, [data["tracking_number"], order_id])
        said: dict[str, Any] = {
            "order_id": str(order_id),
            "after": {"tracking_number": data["tracking_number"], "status": "shipped"},
        }
        follow: dict[str, Any] = {"id": str(uuid4()), "type": "order/updated", "data": said, "time": None}
        await self.updated.configure(connection=connection).defer_async(event=follow)

    async def _completed(self, *, event: dict[str, Any]) -> None:
        async with self.pool.connection() as connection, connection.transaction():
            await self._enter(connection, event)

    async def _updated(self, *, event: dict[str, Any]) -> None:
        async with self.pool.connection() as connection, connection.transaction():
            await self._enter(connection, event)

    async def _enter(self, connection: AsyncConnection[Any], event: dict[str, Any]) -> bool:
        """Insert an event into the ledger. Returns False for a duplicate."""
        values = [event["id"], event["type"], event.get("tenantid"), event.get("subject"), json.dumps(event["data"])]
        written = await connection.execute(_LEDGER, [*values, event.get("time") or "now"])
        return await written.fetchone() is not None
