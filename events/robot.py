"""Events about robot jobs: batches of orders that robots enter into a carrier's portal."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from events.base import Payload, event_type

ErrorType = Literal["validation", "portal", "timeout", "unknown"]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


@event_type("robot/job.submitted")
class JobSubmitted(Payload):
    """A job was accepted, or failed items of it are requested again (`attempt_items` lists them)."""

    job_id: UUID
    carrier: Text
    item_count: Count
    attempt_items: tuple[UUID, ...] | None = None


@event_type("robot/item.requested")
class ItemRequested(Payload):
    """One attempt to enter an order into the carrier's portal is requested."""

    job_id: UUID
    item_id: UUID
    order_id: UUID
    carrier: Text
    attempt: Count


@event_type("robot/item.completed")
class ItemCompleted(Payload):
    """The result of one attempt to enter an order: a tracking number, or an error."""

    job_id: UUID
    item_id: UUID
    attempt: Count
    status: Literal["success", "error"]
    tracking_number: Text | None = None
    validated_city: Text | None = None
    value_sent: dict[str, Any] | None = None
    error_type: ErrorType | None = None
    error_message: Text | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.status == "success" and (self.tracking_number is None or self.error_type is not None):
            message = "a success has a tracking_number and no error_type"
            raise ValueError(message)
        if self.status == "error" and (self.error_type is None or self.tracking_number is not None):
            message = "an error has an error_type and no tracking_number"
            raise ValueError(message)
        return self


@event_type("robot/job.completed")
class JobCompleted(Payload):
    """Every item of a job has a result. Published once a generation."""

    job_id: UUID
    success_count: Count
    error_count: Count
    generation: Annotated[int, Field(ge=1)]
