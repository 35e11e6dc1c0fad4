"""The declaration of a batch (`Batch`), and the composition of SQL with its table and column names.

The tables of a batch have these columns besides the domain's own. Names in braces are settings of the batch:

    jobs    id, {tenant}, status, {total}, {succeeded}, {failed}, generation, idempotency_key, request_fingerprint,
            cancelled_at, cancelled_by, cancel_reason, started_at, completed_at, created_at
            UNIQUE ({tenant}, idempotency_key)
    items   id, {job_id}, {item_status}, retry_count, last_retry_at, error_type, error_message, started_at, completed_at
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, LiteralString, Protocol, TypeVar
from uuid import UUID

from psycopg import sql

from app.context import Connection, HandlerContext
from app.engine.batches.rules import ItemWord
from events import Event, Payload

if TYPE_CHECKING:
    from app.engine.batches.results import Applied, Result


class JobRow(Protocol):
    """A dataclass whose fields are the columns of a jobs table that a domain reads."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> UUID:
        """The job's id."""

    @property
    def status(self) -> str:
        """`pending`, `processing`, `completed` or `failed`."""

    @property
    def request_fingerprint(self) -> str | None:
        """The hash of the request, which distinguishes a repeated request from another one with the same key."""


class ItemRow(Protocol):
    """A dataclass whose fields are the columns of an items table that a domain reads."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> UUID:
        """The item's id."""


JobT = TypeVar("JobT", bound=JobRow)
ItemT = TypeVar("ItemT", bound=ItemRow)


@dataclass(frozen=True, slots=True)
class Job:
    """A job with the default column names. A domain adds its own columns in a subclass."""

    id: UUID
    status: str
    total_items: int
    success_count: int
    error_count: int
    generation: int
    idempotency_key: str | None
    request_fingerprint: str | None
    cancelled_by: str | None
    cancel_reason: str | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """An item with the default column names. A domain adds its own columns in a subclass."""

    id: UUID
    job_id: UUID
    status: str
    retry_count: int
    error_type: str | None
    error_message: str | None
    last_retry_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ItemState:
    """An item's job, tenant and state.

    `status`: the engine's word, which may differ from the table's. `about`: the values of the batch's `about` columns.
    """

    id: UUID
    job_id: UUID
    tenant_id: UUID
    status: ItemWord
    retry_count: int
    about: tuple[Any, ...]

    @property
    def is_open(self) -> bool:
        """Whether the item waits for a result."""
        return self.status in {"pending", "processing"}


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


@cache
def statement(table: JobTable, template: LiteralString) -> bytes:
    """Return `composed()` as bytes, cached."""
    return composed(table, template).as_bytes()


def composed(table: JobTable, template: LiteralString) -> sql.Composed:
    """Return a statement with the names in braces replaced by the table's.

    `{jobs}`, `{items}` and column names become identifiers; `{pending}` to `{error}` become literals. `{job_columns}`
    and `{item_columns}` (of the row `i`) become the lists of selected columns. `{request}` and `{about}` become column
    lists that begin with a comma, or nothing; `{given_request}`, `{given_about}` and `{i_about}` likewise, qualified by
    the row `given` or `i`. `{says_submitted}` to `{says_job_completed}` become the event types, `{says_job}` and
    `{says_item}` the names of their fields, all as literals.
    """
    names = _names(table) | (_batch_names(table) if isinstance(table, Batch) else {})
    return sql.SQL(template).format(**names)


def _names(table: JobTable) -> dict[str, sql.Composable]:
    return {
        "jobs": sql.Identifier(table.schema, table.jobs),
        "total": sql.Identifier(table.total),
        "succeeded": sql.Identifier(table.succeeded),
        "failed": sql.Identifier(table.failed),
    }


def _batch_names(batch: Batch[Any, Any]) -> dict[str, sql.Composable]:
    derived = {name: sql.SQL("({}) AS {}").format(sql.SQL(text), sql.Identifier(name)) for name, text in batch.derived}
    return {
        "items": sql.Identifier(batch.schema, batch.items),
        "tenant": sql.Identifier(batch.tenant),
        "job_id": sql.Identifier(batch.job_id),
        "status": sql.Identifier(batch.item_status),
        **{word: sql.Literal(getattr(batch, word)) for word in ("pending", "processing", "success", "error")},
        "job_columns": sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(batch.job)),
        "item_columns": sql.SQL(", ").join(
            derived.get(field.name, sql.Identifier("i", field.name)) for field in fields(batch.item)
        ),
        "says_submitted": sql.Literal(batch.submitted.type),
        "says_requested": sql.Literal(batch.requested.type),
        "says_completed": sql.Literal(batch.completed.type),
        "says_job_completed": sql.Literal(batch.job_completed.type),
        "says_job": sql.Literal(batch.job_id),
        "says_item": sql.Literal(batch.item_id),
        "request": _after_comma(batch.request),
        "given_request": _after_comma(batch.request, "given"),
        "about": _after_comma(batch.about),
        "given_about": _after_comma(batch.about, "given"),
        "i_about": _after_comma(batch.about, "i"),
        "set_result": sql.SQL("").join(
            sql.SQL("{} = filled.{}, ").format(sql.Identifier(name), sql.Identifier(name)) for name in batch.result
        ),
    }


def _after_comma(columns: Iterable[str], row: str | None = None) -> sql.Composable:
    of = (row,) if row else ()
    return sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(*of, column)) for column in columns)
