"""Robot jobs: submit, look at, retry. Every function acts for the context's workspace and touches nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import get_args
from uuid import UUID

import events
from app.context import Context
from app.engine.batches import counters
from app.engine.queue.publish import publish
from app.errors import Conflict, InvalidInput, NotFound
from app.logistics import availability, rules, store
from app.logistics.rules import ItemStatus, JobStatus
from app.logistics.store import ROBOT_JOBS, RobotJob, RobotJobItem
from app.logistics.submit import AlreadyTaken, CancelledOrders, ForeignOrders, InDoubtElsewhere, create_robot_job
from app.settings import settings
from events import robot

__all__ = [
    "AlreadyTaken",
    "CancelledOrders",
    "ForeignOrders",
    "InDoubtElsewhere",
    "JobPage",
    "Retried",
    "create_robot_job",
    "get_job_with_items",
    "get_robot_job",
    "list_jobs",
    "retry_failed_items",
    "update_job_status",
]

LONGEST_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class JobPage:
    """A job with a page of its items; `next_after` continues it, None on the last page."""

    job: RobotJob
    items: list[RobotJobItem]
    errors: dict[str, int]
    next_after: UUID | None


def get_robot_job(context: Context, job_id: UUID) -> RobotJob:
    """One job. Raises `NotFound`."""
    job = store.job_by_id(context, job_id)
    if job is None:
        raise _unknown(job_id)
    return job


def get_job_with_items(
    context: Context, job_id: UUID, *, status: str | None = None, after: UUID | None = None, limit: int = 100
) -> JobPage:
    """One job with up to `limit` of its items, those after item `after`. Raises `NotFound`."""
    job = get_robot_job(context, job_id)
    _check_page(limit)
    if status is not None and status not in get_args(ItemStatus):
        message = f"status: {status!r} is none; choose one of {', '.join(get_args(ItemStatus))}"
        raise InvalidInput(message)
    items = store.select_items(context.connection, job_id, status=status, after=after, limit=limit + 1)
    next_after = items[limit - 1].id if len(items) > limit else None
    return JobPage(job, items[:limit], store.count_errors(context.connection, job_id), next_after)


def list_jobs(
    context: Context, *, status: str | None = None, before: UUID | None = None, limit: int = 50
) -> list[RobotJob]:
    """The workspace's jobs, newest first; `before` continues after a page's last job."""
    if status is not None and status not in rules.TRANSITIONS:
        message = f"status: {status!r} is none; choose one of {', '.join(rules.TRANSITIONS)}"
        raise InvalidInput(message)
    _check_page(limit)
    return store.select_jobs(context, status, before, limit)


def update_job_status(context: Context, job_id: UUID, status: JobStatus) -> RobotJob:
    """Move a job to `status`.

    To overrule the engine by hand: a job ends by itself with its last result, and one that is ended by hand
    while items are open is named by the audit. Raises `NotFound`, and `Conflict` for a transition that is not allowed.
    """
    with context.connection.transaction():
        job = store.lock_job(context, job_id)
        if job is None:
            raise _unknown(job_id)
        rules.check_transition(job.status, status)
        store.set_status(context.connection, [job_id], status)
    return get_robot_job(context, job_id)


@dataclass(frozen=True, slots=True)
class Retried:
    """A job after a retry, and how many items were asked for again."""

    job: RobotJob
    items: int


def retry_failed_items(context: Context, job_id: UUID, item_ids: Sequence[UUID] | None = None) -> Retried:
    """Ask for failed items again, all of them or those named: a new generation, which will complete once more.

    The counters are corrected and each item's attempt is one more, so a late result of the attempt before changes
    nothing. A job without failed items stays as it is. Raises `NotFound` for an unknown job or item, and `Conflict`
    when a named item is still running or has succeeded.
    """
    with context.connection.transaction():
        job = store.lock_job(context, job_id)
        if job is None:
            raise _unknown(job_id)
        failed = _failed(context, job_id, item_ids)
        if not failed:
            return Retried(job, 0)
        availability.lock_orders_of_items(context.connection, failed)
        delay = _unsettled(context, failed)
        store.reset_items(context.connection, failed)
        counters.count(context.connection, ROBOT_JOBS, {job_id: (0, -len(failed))})
        store.begin_generation(context.connection, [job_id])
        parts = iter(failed)
        while part := tuple(islice(parts, rules.ITEMS_A_REQUEST)):
            asked = robot.JobSubmitted(job_id=job_id, carrier=job.carrier, item_count=len(part), attempt_items=part)
            publish(context.connection, _new(context, job, asked), delay=delay)
    return Retried(get_robot_job(context, job_id), len(failed))


_LAST_UNCLEAR = """
SELECT extract(epoch FROM clock_timestamp() - max(completed_at)) FROM logistics.robot_job_items
 WHERE id = ANY(%(ids)s) AND error_type IN ('timeout', 'unknown', 'portal')
"""


def _unsettled(context: Context, item_ids: Sequence[UUID]) -> float:
    """Seconds until the portal may be asked about items that failed a moment ago without a clear no."""
    row = context.connection.execute(_LAST_UNCLEAR, {"ids": list(item_ids)}).fetchone()
    since = row[0] if row and row[0] is not None else None
    return 0.0 if since is None else max(0.0, settings().portal_settle - float(since))


def _failed(context: Context, job_id: UUID, item_ids: Sequence[UUID] | None) -> list[UUID]:
    if item_ids is None:
        return store.lock_failed_items(context.connection, job_id)
    items = store.lock_items(context.connection, item_ids)
    unknown = [item_id for item_id in item_ids if item_id not in items or items[item_id].job_id != job_id]
    if unknown:
        message = f"items: not of job {job_id}: {rules.name_some(unknown)}"
        raise NotFound(message)
    other = [item for item in items.values() if item.status != "error"]
    if other:
        states = ", ".join(sorted({item.status for item in other}))
        message = f"items: only failed items can be retried; {states}: {rules.name_some([item.id for item in other])}"
        raise Conflict(message)
    return list(items)


def _new(context: Context, job: RobotJob, payload: robot.JobSubmitted) -> events.Event[robot.JobSubmitted]:
    return events.new(payload, now=context.now, subject=job.id, tenant=context.tenant_id)


def _check_page(limit: int) -> None:
    if not 1 <= limit <= LONGEST_PAGE:
        message = f"limit: must be 1 to {LONGEST_PAGE}, not {limit}"
        raise InvalidInput(message)


def _unknown(job_id: UUID) -> NotFound:
    return NotFound(f"job: {job_id} is no job of this workspace; `jobs list` shows them")
