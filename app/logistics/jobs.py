"""Read, retry and cancel robot jobs, and set their status. Each function is limited to the context's workspace."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from psycopg.rows import scalar_row

from app.context import Connection, Context
from app.engine import audit_log
from app.engine.batches import ends, lifecycle, retry
from app.engine.batches.ends import Cancelled
from app.engine.batches.lifecycle import JobPage
from app.engine.batches.retry import Retried
from app.engine.batches.rules import JobStatus
from app.errors import InvalidInput
from app.logistics.store import ROBOT_JOBS, RobotJob, RobotJobItem
from app.logistics.submit import AlreadyTaken, CancelledOrders, ForeignOrders, InDoubtElsewhere, create_robot_job
from events.robot import ErrorType

__all__ = [
    "AlreadyTaken",
    "CancelledOrders",
    "ForeignOrders",
    "InDoubtElsewhere",
    "cancel_job",
    "create_robot_job",
    "get_job_with_items",
    "get_robot_job",
    "list_jobs",
    "record_item",
    "retry_failed_items",
    "update_job_status",
    "workspace_of",
]


_WORKSPACE = "SELECT workspace_id FROM logistics.robot_jobs WHERE id = %s"


def workspace_of(connection: Connection, job_id: UUID) -> UUID:
    """Return the workspace of a job that the connection's role may read. Raises `NotFound`."""
    found = connection.cursor(row_factory=scalar_row).execute(_WORKSPACE, [job_id]).fetchone()
    if found is None:
        raise lifecycle.unknown_job(ROBOT_JOBS, job_id)
    return UUID(str(found))


def get_robot_job(context: Context, job_id: UUID) -> RobotJob:
    """Return a job. Raises `NotFound`."""
    return lifecycle.get_job(context, ROBOT_JOBS, job_id)


def get_job_with_items(
    context: Context, job_id: UUID, *, status: str | None = None, after: UUID | None = None, limit: int = 100
) -> JobPage[RobotJob, RobotJobItem]:
    """Return a job with up to `limit` of its items, starting after item `after`. Raises `NotFound`, `InvalidInput`."""
    return lifecycle.get_page(context, ROBOT_JOBS, job_id, status=status, after=after, limit=limit)


def list_jobs(
    context: Context, *, status: str | None = None, before: UUID | None = None, limit: int = 50
) -> list[RobotJob]:
    """Return the workspace's jobs, newest first. `before`: the last job of the previous page."""
    return lifecycle.list_jobs(context, ROBOT_JOBS, status=status, before=before, limit=limit)


def update_job_status(context: Context, job_id: UUID, status: JobStatus) -> RobotJob:
    """Set a job's status by hand. Returns the job. See `lifecycle.set_status` for errors."""
    return lifecycle.set_status(context, ROBOT_JOBS, job_id, status)


def retry_failed_items(context: Context, job_id: UUID, item_ids: Sequence[UUID] | None = None) -> Retried[RobotJob]:
    """Request failed items again. `item_ids`: default all failed items. See `retry.retry_failed` for errors.

    Locks the orders of the items, because another job may take them concurrently.
    """
    return retry.retry_failed(context, ROBOT_JOBS, job_id, item_ids)


def cancel_job(
    context: Context, job_id: UUID, *, actor: str, reason: str, dry_run: bool = False
) -> Cancelled[RobotJob]:
    """Cancel a job that has not ended: fail items that no robot has begun, and allow no further calls.

    See `ends.cancel` for details and errors.
    """
    return ends.cancel(context, ROBOT_JOBS, job_id, actor=actor, reason=reason, dry_run=dry_run)


def record_item(  # noqa: PLR0913 - the result and the fields of its audit entry
    context: Context,
    item_id: UUID,
    *,
    actor: str,
    reason: str,
    tracking_number: str | None = None,
    error: str | None = None,
    error_type: ErrorType = "portal",
) -> RobotJob:
    """Record the result of an item by hand: its tracking number, or an error. Returns the item's job.

    The result counts like a robot's result, and resolves the dead letters of the item's requests. Raises `InvalidInput`
    unless exactly one of `tracking_number` and `error` is given, `NotFound`, and `Conflict` for an item that has a
    result or whose call is in progress.
    """
    if (tracking_number is None) == (error is None):
        raise InvalidInput("result: give either --tracking or --error")
    if error is None:
        number = audit_log.text("tracking", tracking_number or "")
        result = {"status": "success", "tracking_number": number}
        details = {"status": "success", "tracking_number": number, "error": None}
        told = f"shipped as {number}"
    else:
        why = audit_log.text("error", error)
        result = {"status": "error", "error_type": error_type, "error_message": why}
        details = {"status": "error", "tracking_number": None, "error": why}
        told = f"failed: {why}"
    return ends.record_item(
        context, ROBOT_JOBS, item_id, result, actor=actor, reason=reason, details=details, told=told
    )
