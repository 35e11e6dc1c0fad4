"""Reasons of robot jobs: how a job or an item ended, and what of a carrier's account keeps it from going on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.engine.batches import explainers
from app.engine.inspect.reasons import Reason


@dataclass(frozen=True, slots=True)
class JobEnded(explainers.JobEnded):
    """Every item has a result."""

    @property
    def sentence(self) -> str:
        """How it ended."""
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
        """Under which number."""
        return f"shipped at {self.completed_at:%Y-%m-%d %H:%M:%S%z} under {self.tracking_number}"


@dataclass(frozen=True, slots=True)
class CarrierDisabled(Reason):
    """Whatever is asked of the carrier now fails without a call."""

    kind: ClassVar[str] = "carrier_disabled"
    workspace_id: UUID
    carrier: str

    @property
    def sentence(self) -> str:
        """What to do."""
        return (
            f"carrier {self.carrier} is disabled: its items fail when their turn comes"
            f" (`carriers enable {self.carrier}`)"
        )


@dataclass(frozen=True, slots=True)
class NoCredentials(Reason):
    """No robot can log in at the carrier's portal."""

    kind: ClassVar[str] = "no_credentials"
    workspace_id: UUID
    carrier: str

    @property
    def sentence(self) -> str:
        """What to do."""
        return (
            f"carrier {self.carrier} has no username, password or portal: its items fail when their turn comes"
            f" (`carriers set {self.carrier}`)"
        )


@dataclass(frozen=True, slots=True)
class SessionsBusy(Reason):
    """The account may have `max_sessions` portal calls at once, and `held` are under way."""

    kind: ClassVar[str] = "sessions_busy"
    events: int
    workspace_id: UUID
    carrier: str
    held: int
    max_sessions: int
    since: datetime

    @property
    def sentence(self) -> str:
        """Whose sessions."""
        return (
            f"{self.events} waiting since {self.since:%Y-%m-%d %H:%M:%S%z} for a session: {self.held} of"
            f" {self.max_sessions} of the account at {self.carrier} are busy"
            f" (`carriers set {self.carrier} --max-sessions`)"
        )
