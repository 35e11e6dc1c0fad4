"""Explain why a job or an item of a batch has not ended. Adds the batch's reasons to the engine's.

These functions are for operators: they read the rows of all tenants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic
from uuid import UUID

from app.context import Connection
from app.engine.batches import store
from app.engine.batches.rows import ItemT, JobT
from app.engine.batches.tables import Batch
from app.engine.inspect.explain import explain
from app.engine.inspect.reasons import Reason, shown
from app.errors import NotFound


@dataclass(frozen=True, slots=True)
class JobEnded(Reason):
    """The job has ended: every item has a result."""

    kind: ClassVar[str] = "done"
    status: str
    success_count: int
    error_count: int
    completed_at: datetime | None

    @property
    def sentence(self) -> str:
        """The job's status and counters."""
        since = f" since {shown(self.completed_at)}" if self.completed_at else ""
        return f"the job is {self.status}{since}: {self.success_count} succeeded, {self.error_count} failed"


@dataclass(frozen=True, slots=True)
class ItemSucceeded(Reason):
    """The item succeeded."""

    kind: ClassVar[str] = "done"
    completed_at: datetime

    @property
    def sentence(self) -> str:
        """When the item succeeded."""
        return f"succeeded at {shown(self.completed_at)}"


@dataclass(frozen=True, slots=True)
class ItemFailed(Reason):
    """The item failed. It is not requested again unless an operator or user retries it."""

    kind: ClassVar[str] = "item_failed"
    job_id: UUID
    item_id: UUID
    error_type: str
    error_message: str | None
    attempt: int
    completed_at: datetime
    command: str = "jobs"

    @property
    def sentence(self) -> str:
        """The error, and the command that retries the item."""
        why = f"{self.error_type}: {self.error_message}" if self.error_message else self.error_type
        return (
            f"attempt {self.attempt} failed at {shown(self.completed_at)} of {why}"
            f" (`{self.command} retry {self.job_id} --item {self.item_id}`)"
        )


@dataclass(frozen=True, slots=True)
class Lost(Reason):
    """The job or item is open, but it has no event that is waiting, in delivery, held or dead."""

    kind: ClassVar[str] = "lost"

    @property
    def sentence(self) -> str:
        """What to do."""
        return "it is open, but none of its events is waiting, in delivery or dead: an invariant is broken, run `audit`"


@dataclass(frozen=True, slots=True)
class OwnReasons(Generic[JobT, ItemT]):
    """Functions of a domain for `explain_job()` and `explain_item()`. All are optional.

    job_ended, item_succeeded   the domain's own reasons for a job that ended and an item that succeeded
    refine      replace the engine's reasons by the domain's own
    obstacles   reasons outside the job that prevent its items, such as a disabled account
    """

    job_ended: Callable[[JobT], Reason] | None = None
    item_succeeded: Callable[[ItemT], Reason] | None = None
    refine: Callable[[Connection, JobT, list[Reason]], Iterable[Reason]] | None = None
    obstacles: Callable[[Connection, JobT], Iterable[Reason]] | None = None


def explain_job(
    connection: Connection, batch: Batch[JobT, ItemT], job_id: UUID, own: OwnReasons[JobT, ItemT] | None = None
) -> list[Reason]:
    """Return the reasons why a job has not ended, or how it ended. Raises `NotFound`."""
    own = own or OwnReasons()
    job = _job(connection, batch, job_id)
    found = _refined(connection, own, job, explain(connection, {"subject": str(job_id)}))
    if job.status in {"completed", "failed"}:
        return [(own.job_ended or _job_ended(batch))(job), *found]
    return [*_obstacles(connection, own, job), *(found or [Lost()])]


def explain_item(
    connection: Connection, batch: Batch[JobT, ItemT], item_id: UUID, own: OwnReasons[JobT, ItemT] | None = None
) -> list[Reason]:
    """Return the reasons why an item has no result, or its result. Raises `NotFound`."""
    own = own or OwnReasons()
    state = store.item_states(connection, batch, [item_id]).get(item_id)
    if state is None:
        raise NotFound(f"item: there is no item {item_id} of a {batch.name}; `{batch.command} show JOB` lists a job's")
    row: Any = store.items_by_id(connection, batch, [item_id])[item_id]
    job = _job(connection, batch, state.job_id)
    found = _refined(connection, own, job, explain(connection, {"data": {batch.item_id: str(item_id)}}))
    if state.status == "success":
        return [own.item_succeeded(row) if own.item_succeeded else ItemSucceeded(row.completed_at), *found]
    if state.status == "error":
        why = (row.error_type, row.error_message, state.retry_count, row.completed_at)
        return [ItemFailed(state.job_id, item_id, *why, batch.command), *found]
    # An item that is not requested yet waits for the job's submitted event.
    found = found or explain(connection, {"type": batch.submitted.type, "subject": str(state.job_id)})
    return [*_obstacles(connection, own, job), *(found or [Lost()])]


def _job(connection: Connection, batch: Batch[JobT, ItemT], job_id: UUID) -> JobT:
    job = store.any_job(connection, batch, job_id)
    if job is None:
        raise NotFound(f"job: there is no {batch.name} {job_id}; `{batch.command} list` shows a {batch.owner}'s")
    return job


def _refined(connection: Connection, own: OwnReasons[JobT, ItemT], job: JobT, found: list[Reason]) -> list[Reason]:
    return list(own.refine(connection, job, found)) if own.refine else found


def _obstacles(connection: Connection, own: OwnReasons[JobT, ItemT], job: JobT) -> list[Reason]:
    return list(own.obstacles(connection, job)) if own.obstacles else []


def _job_ended(batch: Batch[JobT, ItemT]) -> Callable[[JobT], Reason]:
    def ended(job: JobT) -> Reason:
        _, succeeded, failed = batch.counters(job)
        return JobEnded(job.status, succeeded, failed, getattr(job, "completed_at", None))

    return ended
