"""Events about messages: direct and group messages that become jobs. They have no tenant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from events.base import Payload, event_type

ContentType = Literal["text", "link", "image", "audio", "video", "location", "contact", "unknown"]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]


@event_type("message/job.submitted")
class JobSubmitted(Payload):
    """A message was received, or its failed job was reopened. `provider_message_id`: the sender's own id of it."""

    job_id: UUID
    provider_message_id: Word


@event_type("message/processing.requested")
class ProcessingRequested(Payload):
    """The processor of a message's content type is requested. `attempt`: how often the job was reopened."""

    job_id: UUID
    attempt: Count
    content_type: ContentType


@event_type("message/processing.completed")
class ProcessingCompleted(Payload):
    """The result of one attempt to process a message: what the processor returned, or an error."""

    job_id: UUID
    attempt: Count
    status: Literal["complete", "failed"]
    content: dict[str, Any] | None = None
    error_message: Text | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.status == "complete") != (self.content is not None) or (self.status == "failed") != (
            self.error_message is not None
        ):
            message = "a result has content if it is complete, and an error_message if it failed"
            raise ValueError(message)
        return self


@event_type("message/job.completed")
class JobCompleted(Payload):
    """A message's job has ended. Published once an attempt."""

    job_id: UUID
    status: Literal["complete", "failed"]
    attempt: Count = 0


class FormField(BaseModel):
    """A field of a form. Names may repeat, values may be blank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: str


@event_type("message/webhook")
class Webhook(Payload):
    """The form fields of a verified webhook request, to be made a job, or to reopen the job that failed.

    It is published by the replay of a dead letter alone.
    """

    fields: tuple[FormField, ...]

    @classmethod
    def of(cls, fields: Iterable[tuple[str, str]]) -> Self:
        """Return the payload of pairs of a name and a value."""
        return cls(fields=tuple(FormField(name=name, value=value) for name, value in fields))

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return the fields as pairs of a name and a value."""
        return tuple((one.name, one.value) for one in self.fields)
