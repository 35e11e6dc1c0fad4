"""The states of a message's job, and checks of requests. Pure."""

from __future__ import annotations

from typing import Literal, get_args

from app.engine.batches.rules import check_page, check_word
from app.errors import InvalidInput
from events.messaging import ContentType

__all__ = ["check_page", "check_word"]

JobStatus = Literal["pending", "processing", "complete", "failed"]
CONTENT_TYPES: tuple[ContentType, ...] = get_args(ContentType)
STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    "pending": frozenset({"processing"}),
    "processing": frozenset({"complete", "failed"}),
    "complete": frozenset(),
    "failed": frozenset({"pending"}),
}
"""Allowed transitions of a job's status. The trigger `messaging.check_transition()` has the same list."""


def check_content_type(content_type: str) -> None:
    """Raise `InvalidInput` if there is no such content type."""
    if content_type not in CONTENT_TYPES:
        known = ", ".join(CONTENT_TYPES)
        raise InvalidInput(f"type: {content_type!r} is not a content type; choose one of {known}")
