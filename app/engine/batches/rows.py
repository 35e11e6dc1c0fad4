"""Rows of jobs and items: the fields that the engine reads, the default columns, and an item's state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID

from app.engine.batches.rules import ItemWord


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
