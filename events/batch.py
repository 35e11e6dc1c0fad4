"""Base payloads for jobs with items. Subclass each, add fields, and register it with `@event_type`."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from events.base import Payload

Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class JobSubmitted(Payload):
    """A job was accepted, or failed items of it are requested again (`attempt_items` names them)."""

    job_id: UUID
    item_count: Count
    attempt_items: tuple[UUID, ...] | None = None


class ItemRequested(Payload):
    """One attempt at an item is requested."""

    job_id: UUID
    item_id: UUID
    attempt: Count


class ItemCompleted(Payload):
    """The result of one attempt at an item. `error_type` is `validation` if no outside call was made."""

    job_id: UUID
    item_id: UUID
    attempt: Count
    status: Literal["success", "error"]
    error_type: Text | None = None
    error_message: Text | None = None

    @model_validator(mode="after")
    def _has_an_error_or_none(self) -> Self:
        if (self.status == "error") != (self.error_type is not None):
            message = "an error has an error_type, a success has none"
            raise ValueError(message)
        return self


class JobCompleted(Payload):
    """Every item of a job has a result. Published once a generation."""

    job_id: UUID
    success_count: Count
    error_count: Count
    generation: Annotated[int, Field(ge=1)]
