"""Plain Procrastinate with robots: a task for each item enters its order and applies the result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from app.bench.plain import QUEUE, Plain
from app.bench.temporary_database import TemporaryDatabase
from app.bench.workspace import CITY, PASSWORD, USERNAME
from app.context import Connection
from app.logistics import rules
from app.logistics.gateway import Account, Credentials, OrderForm
from app.logistics.http_portal import HttpPortal

_JOB = """
INSERT INTO logistics.robot_jobs (workspace_id, total_items, status, started_at) VALUES (%s, %s, %s, now()) RETURNING id
"""
_ITEMS = """
INSERT INTO logistics.robot_job_items (job_id, order_id) SELECT %s, order_id FROM unnest(%s::uuid[]) AS o (order_id)
"""
_PENDING = "SELECT id, order_id FROM logistics.robot_job_items WHERE job_id = %s AND status = 'pending' ORDER BY id"
_ORDER = """
SELECT workspace_id, recipient_name, recipient_document, recipient_phone, recipient_email, address, units,
       weight_kg::double precision, declared_value_cents, collect_on_delivery_cents
  FROM logistics.orders WHERE id = %s
"""
ROBOTS_QUEUE = "plain_robots"
TIMEOUT_S = 15.0


def account(portal_url: str) -> Account:
    """Return the portal account of the contenders other than the program."""
    return Account(UUID(int=0), portal_url, Credentials(USERNAME, SecretStr(PASSWORD)), TIMEOUT_S)


class PlainRobots(Plain):
    """The tasks of a fan-out and a fan-in."""

    def __init__(self, temp_database: TemporaryDatabase, portal_url: str = "") -> None:
        super().__init__(temp_database)
        self.account = account(portal_url)
        self.portal: HttpPortal | None = None
        self.entered = self.app.task(name="plain_item_requested", queue=ROBOTS_QUEUE)(self._entered)
        self.submitted = self.app.task(name="plain_job_submitted", queue=QUEUE)(self._submitted)

    def submit(self, connection: Connection, workspace_id: UUID, order_ids: Sequence[UUID]) -> UUID:
        """Insert a job with its items and defer its fan-out in one transaction. Returns the job's id.

        The app must be open.
        """
        with connection.transaction():
            row = connection.execute(_JOB, [workspace_id, len(order_ids), "processing"]).fetchone()
            if row is None:
                raise LookupError("no job was inserted")
            connection.execute(_ITEMS, [row[0], list(order_ids)])
            self.submitted.configure(connection=connection).defer(job_id=str(row[0]))
        return UUID(str(row[0]))

    def fan_out(self) -> float:
        """Run a worker that fans out the submitted jobs. Returns the seconds."""
        return asyncio.run(self._fan_out())

    async def _fan_out(self) -> float:
        async with self.app.open_async(), AsyncConnectionPool(self.conninfo, min_size=2, max_size=8) as self.pool:
            began = time.perf_counter()
            await self.app.run_worker_async(
                queues=[QUEUE], concurrency=1, wait=False, install_signal_handlers=False, listen_notify=False
            )
            return time.perf_counter() - began

    async def _submitted(self, *, job_id: str) -> None:
        """Defer a task for every item, with `batch_defer` in one transaction."""
        async with self.pool.connection() as connection, connection.transaction():
            rows = await (await connection.execute(_PENDING, [job_id])).fetchall()
            wanted: list[dict[str, Any]] = [
                {"job_id": job_id, "item_id": str(item_id), "order_id": str(order_id), "attempt": 0}
                for item_id, order_id in rows
            ]
            await self.entered.configure(connection=connection).batch_defer_async(*wanted)

    async def _entered(self, *, job_id: str, item_id: str, order_id: str, attempt: int) -> None:
        """Enter an order into the portal, then apply the result in a transaction."""
        async with self.pool.connection() as connection:
            cursor = await connection.cursor(row_factory=dict_row).execute(_ORDER, [order_id])
            order: dict[str, Any] = await cursor.fetchone() or {}
        workspace_id = order.pop("workspace_id")
        form = OrderForm(reference=rules.reference(UUID(item_id), attempt), city=CITY, **order)
        self.portal = self.portal or HttpPortal()
        accepted = await self.portal.enter(self.account, form)
        data = {
            "job_id": job_id,
            "item_id": item_id,
            "attempt": attempt,
            "status": "success",
            "tracking_number": accepted.tracking_number,
            "validated_city": accepted.city,
        }
        event = {
            "id": str(uuid4()),
            "type": "robot/item.completed",
            "tenantid": str(workspace_id),
            "subject": job_id,
            "time": datetime.now(UTC).isoformat(),
            "data": data,
        }
        await self._counted(event=event)
