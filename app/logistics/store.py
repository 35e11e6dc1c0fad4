"""Robot jobs and their items: row types, and the declaration of their batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.batches.rules import ItemWord, JobStatus
from app.engine.batches.tables import Batch
from app.logistics import availability
from app.logistics.recording import record
from app.settings import settings
from events import robot


@dataclass(frozen=True, slots=True)
class RobotJob:
    """A job: a batch of orders for one carrier."""

    id: UUID
    workspace_id: UUID
    carrier: str
    status: JobStatus
    total_items: int
    success_count: int
    error_count: int
    idempotency_key: str | None
    generation: int
    request_fingerprint: str | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RobotJobItem:
    """An item of a job: one order. `order_reference`: the shop's reference of the order."""

    id: UUID
    job_id: UUID
    order_id: UUID
    order_reference: str
    status: ItemWord
    tracking_number: str | None
    validated_city: str | None
    value_sent: dict[str, Any] | None
    error_type: str | None
    error_message: str | None
    retry_count: int
    last_retry_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


ROBOT_JOBS = Batch(
    name="robot job",
    command="jobs",
    schema="logistics",
    jobs="robot_jobs",
    items="robot_job_items",
    tenant="workspace_id",
    job=RobotJob,
    item=RobotJobItem,
    request=("carrier",),
    about=("order_id",),
    result=("tracking_number", "validated_city", "value_sent", "error_type", "error_message"),
    derived=(("order_reference", "SELECT o.reference FROM logistics.orders o WHERE o.id = i.order_id"),),
    submitted=robot.JobSubmitted,
    requested=robot.ItemRequested,
    completed=robot.ItemCompleted,
    job_completed=robot.JobCompleted,
    content="carrier or orders",
    record=record,
    lock_about=availability.lock_orders_of_items,
    obstacles=availability.obstacles,
    grace_period=lambda: settings().portal_settle,
)

_INSERT_ITEMS = """
INSERT INTO logistics.robot_job_items (id, job_id, order_id)
SELECT item.id, %s, item.order_id FROM unnest(%s::uuid[], %s::uuid[]) AS item (id, order_id)
"""


def insert_items(connection: Connection, job_id: UUID, item_ids: Sequence[UUID], order_ids: Sequence[UUID]) -> None:
    """Insert an item for each order, in one statement."""
    connection.execute(_INSERT_ITEMS, [job_id, list(item_ids), list(order_ids)])
