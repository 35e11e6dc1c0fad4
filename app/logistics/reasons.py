"""Reasons of robot jobs: how a job or item ended, and problems of a carrier's account that block it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.engine.batches import explainers
from app.engine.inspect.reasons import Reason


@dataclass(frozen=True, slots=True)
class JobEnded(explainers.JobEnded):
    """The job has ended: every item has a result."""

    @property
    def sentence(self) -> str:
        """The job's status and counters."""
        return (
            f"the job is {self.status} since {self.completed_at:%Y-%m-%d %H:%M:%S%z}: {self.success_count} shipped,"
            f" {self.error_count} failed"
        )


@dataclass(frozen=True, slots=True)
class ItemShipped(Reason):
    """The carrier has the order."""

    kind: ClassVar[str] = "done"
    tracking_number: str
    completed_at: datetime

    @property
    def sentence(self) -> str:
        """The time and the tracking number."""
        return f"shipped at {self.completed_at:%Y-%m-%d %H:%M:%S%z} under {self.tracking_number}"


@dataclass(frozen=True, slots=True)
class CarrierDisabled(Reason):
    """The account is disabled: requests for the carrier fail without a call."""

    kind: ClassVar[str] = "carrier_disabled"
    workspace_id: UUID
    carrier: str

    @property
    def sentence(self) -> str:
        """The problem, and the command that enables the account."""
        return (
            f"carrier {self.carrier} is disabled: its items fail at their next delivery"
            f" (`carriers enable {self.carrier}`)"
        )


@dataclass(frozen=True, slots=True)
class NoCredentials(Reason):
    """The account is incomplete, so no robot can log in to the carrier's portal."""

    kind: ClassVar[str] = "no_credentials"
    workspace_id: UUID
    carrier: str

    @property
    def sentence(self) -> str:
        """The problem, and the command that completes the account."""
        return (
            f"carrier {self.carrier} has no username, password or portal: its items fail at their next delivery"
            f" (`carriers set {self.carrier}`)"
        )


@dataclass(frozen=True, slots=True)
class SessionsBusy(Reason):
    """All sessions of the account are in use. `max_sessions`: most concurrent calls. `held`: calls in progress."""

    kind: ClassVar[str] = "sessions_busy"
    events: int
    workspace_id: UUID
    carrier: str
    held: int
    max_sessions: int
    since: datetime

    @property
    def sentence(self) -> str:
        """The account, and how many of its sessions are busy."""
        return (
            f"{self.events} waiting since {self.since:%Y-%m-%d %H:%M:%S%z} for a session: {self.held} of"
            f" {self.max_sessions} of the account at {self.carrier} are busy"
            f" (`carriers set {self.carrier} --max-sessions`)"
        )
