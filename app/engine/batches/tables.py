"""The declaration of a batch (`Batch`): its tables, columns, status words and events.

The tables of a batch have these columns besides the domain's own. Names in braces are settings of the batch:

    jobs    id, {tenant}, status, {total}, {succeeded}, {failed}, generation, idempotency_key, request_fingerprint,
            cancelled_at, cancelled_by, cancel_reason, started_at, completed_at, created_at
            UNIQUE ({tenant}, idempotency_key)
    items   id, {job_id}, {item_status}, retry_count, last_retry_at, error_type, error_message, started_at, completed_at
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, LiteralString
from uuid import UUID

from app.context import Connection, HandlerContext
from app.engine.batches.rows import ItemT, JobT
from app.engine.batches.rules import ItemWord
from events import Event, Payload

if TYPE_CHECKING:
    from app.engine.batches.results import Applied, Result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobTable:
    """A table of jobs, with its counter columns: all items, succeeded items, failed items."""

    schema: str
    jobs: str
    total: str = "total_items"
    succeeded: str = "success_count"
    failed: str = "error_count"

    @property
    def table(self) -> str:
        """The table's qualified name."""
        return f"{self.schema}.{self.jobs}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch(JobTable, Generic[JobT, ItemT]):
    """One kind of job with items: its tables, columns, status words and events.

    name           the name of a job in errors and invariants: "robot job"
    command        the CLI's sub-command: "jobs"
    job, item      dataclasses; their fields are the columns that are read
    tenant         the jobs' column of the tenant, e.g. `workspace_id`
    request        columns of a job that a submit sets
    about          columns of an item that a submit sets: the work to do
    result         columns of an item that a result sets, named like the fields of `completed`
    derived        fields of `item` that are not columns: pairs of name and SQL expression over the item's row `i`
    job_id, item_id  names of fields in events; `job_id` is also the items' foreign key
    item_status    the items' column of the status, with its words for `pending`, `processing`, `success`, `error`
    counts         the fields of `job_completed` with the two counters
    content        the content that distinguishes requests, for the error message of a reused key

    The payload types are those of `events.batch`, or have the same fields. A field of `requested` or `submitted` is
    filled from the column with its name. A field of `requested` that the item does not have is filled from the event
    that submitted the job.

    Optional functions of a domain:

    record         record results with the domain's own statement
    lock_about     lock the rows that items refer to; called with the ids of locked items before they are reopened
    obstacles      why requests cannot be carried out now, by event id
    grace_period   seconds for which the other side may still process a call that ended without an answer
    """

    name: str
    command: str
    items: str
    job: type[JobT]
    item: type[ItemT]
    submitted: type[Payload]
    requested: type[Payload]
    completed: type[Payload]
    job_completed: type[Payload]
    tenant: str = "tenant_id"
    request: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    result: tuple[str, ...] = ("error_type", "error_message")
    derived: tuple[tuple[str, LiteralString], ...] = ()
    job_id: str = "job_id"
    item_id: str = "item_id"
    item_status: str = "status"
    pending: str = "pending"
    processing: str = "processing"
    success: str = "success"
    error: str = "error"
    counts: tuple[str, str] = ("success_count", "error_count")
    content: str | None = None
    record: Callable[[HandlerContext, Batch[Any, Any], Sequence[Result]], Applied] | None = None
    lock_about: Callable[[Connection, Sequence[UUID]], None] | None = None
    obstacles: Callable[[Connection, Sequence[Event[Any]]], Mapping[UUID, str]] | None = None
    grace_period: Callable[[], float] = lambda: 0.0

    @property
    def owner(self) -> str:
        """The tenant's name in messages: `workspace` for `workspace_id`."""
        return self.tenant.removesuffix("_id")

    def job_of(self, data: Payload) -> UUID:
        """Return the job's id in a payload."""
        found: UUID = getattr(data, self.job_id)
        return found

    def item_of(self, data: Payload) -> UUID:
        """Return the item's id in a payload."""
        found: UUID = getattr(data, self.item_id)
        return found

    def attempt_of(self, data: Payload) -> int:
        """Return the attempt in a payload, from 0."""
        found: int = data.attempt  # type: ignore[attr-defined]
        return found

    def word(self, status: str) -> ItemWord:
        """Return the engine's word for an item's status. Raises `KeyError` for an unknown status."""
        words: dict[str, ItemWord] = {
            self.pending: "pending",
            self.processing: "processing",
            self.success: "success",
            self.error: "error",
        }
        return words[status]

    def counters(self, job: JobT) -> tuple[int, int, int]:
        """Return the numbers of a job's items: all, succeeded, failed."""
        return getattr(job, self.total), getattr(job, self.succeeded), getattr(job, self.failed)
