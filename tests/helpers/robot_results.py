"""Results of robots made up for tests, as payloads and as events, and the state of the workspace after them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import events
from app.context import Connection, Context
from app.engine.batches.results import Applied, Result, apply
from app.engine.inspect.invariants import audit
from app.engine.queue.publish import publish
from app.logistics.jobs import create_robot_job, get_job_with_items
from app.logistics.store import ROBOT_JOBS, RobotJob, RobotJobItem
from app.program import INVARIANTS
from events import Event
from events.robot import ErrorType, ItemCompleted
from tests.helpers.shops import Shop


def submitted(shop: Shop, count: int) -> tuple[RobotJob, list[RobotJobItem]]:
    """Submit a job of new orders. Returns it and its items."""
    job = create_robot_job(shop.context, shop.order(count))
    return job, items_of(shop, job.id)


def items_of(shop: Shop, job_id: UUID) -> list[RobotJobItem]:
    """Return up to a thousand items of a job."""
    return get_job_with_items(shop.context, job_id, limit=1000).items


def success(item: RobotJobItem, number: str | None = None, *, attempt: int | None = None) -> ItemCompleted:
    """Return the result of an order that was entered."""
    return ItemCompleted(
        job_id=item.job_id,
        item_id=item.id,
        attempt=item.retry_count if attempt is None else attempt,
        status="success",
        tracking_number=number or f"T-{item.order_reference}",
        validated_city="BOGOTA (C/MARCA)",
        value_sent={"reference": f"{item.id}-{item.retry_count}"},
    )


def failure(item: RobotJobItem, kind: ErrorType = "portal", *, attempt: int | None = None) -> ItemCompleted:
    """Return the result of an order that was not entered."""
    return ItemCompleted(
        job_id=item.job_id,
        item_id=item.id,
        attempt=item.retry_count if attempt is None else attempt,
        status="error",
        error_type=kind,
        error_message=f"{kind}: no",
    )


def said(shop: Shop, result: ItemCompleted, *, tenant: UUID | None = None) -> Event[ItemCompleted]:
    """Return the event of a result. `tenant`: default is the shop's workspace."""
    return events.new(result, now=datetime.now(UTC), subject=result.job_id, tenant=tenant or shop.workspace_id)


def without_tenant(result: ItemCompleted) -> Event[ItemCompleted]:
    """Return the event of a result without a tenant."""
    return events.new(result, now=datetime.now(UTC), subject=result.job_id, tenant=None)


def ledger(connection: Connection, kind: str) -> list[dict[str, Any]]:
    """Return the data of the applied events of a type, oldest first."""
    rows = connection.execute("SELECT data FROM engine.event_log WHERE type = %s ORDER BY applied_at, event_id", [kind])
    return [data for (data,) in rows]


def broken(connection: Connection) -> list[object]:
    """Return the invariants that are violated."""
    return [verdict for verdict in audit(connection, INVARIANTS) if not verdict.holds]


def everything(connection: Connection) -> list[list[Any]]:
    """Return all jobs, items, orders and queue rows, to compare them before and after."""
    tables = ("logistics.robot_jobs", "logistics.robot_job_items", "logistics.orders", "public.procrastinate_jobs")
    return [connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in tables]  # noqa: S608


def update_job_item_result(context: Context, said: ItemCompleted) -> Applied:
    """Record the result of one item. Raises `NotFound` if the item is not the workspace's."""
    return update_job_item_results(context, [said])


def update_job_item_results(context: Context, results: Sequence[ItemCompleted]) -> Applied:
    """Record results of items in one transaction: update items, counters and orders, complete jobs, publish events.

    Late results change nothing; `late` counts them. Raises `NotFound`, and records nothing, if an item does not belong
    to the job of its result or to the workspace.
    """
    with context.connection.transaction():
        applied = apply(context, ROBOT_JOBS, [Result(context.tenant_id, data) for data in results])
        publish(context.connection, *applied.follow)
    return applied
