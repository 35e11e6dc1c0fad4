"""The states of a message's job, and checks of requests. Pure."""

from __future__ import annotations

from typing import Literal, get_args

from app.engine.batches.rules import check_page, check_word

__all__ = ["check_page", "check_word"]

JobStatus = Literal["pending", "processing", "complete", "failed"]
STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    "pending": frozenset({"processing"}),
    "processing": frozenset({"complete", "failed"}),
    "complete": frozenset(),
    "failed": frozenset({"pending"}),
}
"""Allowed transitions of a job's status. The trigger `messaging.check_transition()` has the same list."""
