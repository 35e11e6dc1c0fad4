"""Robot jobs: look at them, retry, cancel, overrule. Every function acts for the context's workspace alone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.context import Context
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
]


def get_robot_job(context: Context, job_id: UUID) -> RobotJob:
    """One job. Raises `NotFound`."""
    return lifecycle.get_job(context, ROBOT_JOBS, job_id)


def get_job_with_items(
    context: Context, job_id: UUID, *, status: str | None = None, after: UUID | None = None, limit: int = 100
) -> JobPage[RobotJob, RobotJobItem]:
    """One job with up to `limit` of its items, those after item `after`. Raises `NotFound`."""
    return lifecycle.get_page(context, ROBOT_JOBS, job_id, status=status, after=after, limit=limit)


def list_jobs(
    context: Context, *, status: str | None = None, before: UUID | None = None, limit: int = 50
) -> list[RobotJob]:
    """The workspace's jobs, newest first; `before` continues after a page's last job."""
    return lifecycle.list_jobs(context, ROBOT_JOBS, status=status, before=before, limit=limit)


def update_job_status(context: Context, job_id: UUID, status: JobStatus) -> RobotJob:
    """Move a job to `status`, overruling the engine; see `lifecycle.set_status`."""
    return lifecycle.set_status(context, ROBOT_JOBS, job_id, status)


def retry_failed_items(context: Context, job_id: UUID, item_ids: Sequence[UUID] | None = None) -> Retried[RobotJob]:
    """Ask for failed items again, all of them or those named; see `retry.retry_failed`.

    Their orders are locked, because another job may be about to take them.
    """
    return retry.retry_failed(context, ROBOT_JOBS, job_id, item_ids)


def cancel_job(
    context: Context, job_id: UUID, *, actor: str, reason: str, dry_run: bool = False
) -> Cancelled[RobotJob]:
    """Cancel a job that is not done: items that no robot has begun fail now, no call for the others begins.

    See `ends.cancel`.
    """
    return ends.cancel(context, ROBOT_JOBS, job_id, actor=actor, reason=reason, dry_run=dry_run)


def record_item(  # noqa: PLR0913 - each says another thing about the result
    context: Context,
    item_id: UUID,
    *,
    actor: str,
    reason: str,
    tracking_number: str | None = None,
    error: str | None = None,
    error_type: ErrorType = "portal",
) -> RobotJob:
    """Record what a person knows came of an item: its tracking number, or an error; returns its job.

    It counts as a robot's result does, and resolves the dead letters of the item's requests. Raises `InvalidInput`
    unless it is one of the two, `NotFound`, and `Conflict` for an item that has a result or that a robot is entering
    at this moment.
    """
    if (tracking_number is None) == (error is None):
        raise InvalidInput("result: say --tracking or --error, one of them")
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
