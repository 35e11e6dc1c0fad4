"""Reasons of collection runs: why a run, a page or an item has not ended, or how it ended. Amounts are in cents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.collection import rules
from app.engine.inspect.reasons import Reason, shown
from events.collection import PauseReason


@dataclass(frozen=True, slots=True)
class RunEnded(Reason):
    """The run has ended."""

    kind: ClassVar[str] = "done"
    status: str
    processed: int
    failed: int
    spent: int
    overrun: int
    completed_at: datetime
    error_code: str | None
    error_message: str | None

    @property
    def sentence(self) -> str:
        """The run's status, counters and cost, and its error."""
        over = f" and {rules.cents(self.overrun)} above the cap" if self.overrun else ""
        why = f" of {self.error_code}: {self.error_message or 'no message'}" if self.error_code else ""
        return (
            f"the run is {self.status} since {shown(self.completed_at)}{why}: {self.processed} items processed,"
            f" {self.failed} failed, {rules.cents(self.spent)} spent{over}"
        )


@dataclass(frozen=True, slots=True)
class RunPaused(Reason):
    """The run is paused. `by`: who changed it last; None for the program."""

    kind: ClassVar[str] = "paused"
    run_id: UUID
    marketplace: str
    reason: PauseReason
    since: datetime
    by: str | None

    @property
    def sentence(self) -> str:
        """The reason, the time, the author, and the remedy."""
        by = f" by {self.by}" if self.by and self.reason == "user" else ""
        remedy = rules.remedy(self.reason, self.run_id, self.marketplace)
        return f"the run is paused since {shown(self.since)}{by} ({self.reason}): {remedy}"


@dataclass(frozen=True, slots=True)
class NoPlace(Reason):
    """The run waits for a place. `position`: 1 is the next to start. `most`: most running runs of the organisation."""

    kind: ClassVar[str] = "no_place"
    position: int
    running: int
    most: int

    @property
    def sentence(self) -> str:
        """The position, and how many runs are running."""
        return (
            f"number {self.position} of the runs that wait: {self.running} of at most {self.most} are running"
            " (`settings set --max-runs`)"
        )


@dataclass(frozen=True, slots=True)
class Budget(Reason):
    """The books of a run that has not ended. `own_cap`: whether the cap is the run's own."""

    kind: ClassVar[str] = "budget"
    spent: int
    reserved: int
    overrun: int
    cap: int
    own_cap: bool

    @property
    def sentence(self) -> str:
        """What is spent, reserved and left."""
        over = f", {rules.cents(self.overrun)} charged above the cap" if self.overrun else ""
        own = "its own cap" if self.own_cap else "the cap"
        left = self.cap - self.spent - self.reserved
        return (
            f"{rules.cents(self.spent)} spent and {rules.cents(self.reserved)} reserved of {own} of"
            f" {rules.cents(self.cap)}, {rules.cents(left)} left{over}"
        )


@dataclass(frozen=True, slots=True)
class AccountUnusable(Reason):
    """The organisation's account with the marketplace is disabled or incomplete, so no page can be bought."""

    kind: ClassVar[str] = "account_unusable"
    org_id: UUID
    marketplace: str
    why: str

    @property
    def sentence(self) -> str:
        """What is wrong with the account."""
        command = "enable" if self.why == "is disabled" else "set"
        return (
            f"the account with {self.marketplace} {self.why}, so no page can be bought"
            f" (`marketplaces {command} {self.marketplace}`)"
        )


@dataclass(frozen=True, slots=True)
class AccountResting(Reason):
    """The marketplace asked the account to wait until `until`."""

    kind: ClassVar[str] = "resting"
    marketplace: str
    why: str
    until: datetime

    @property
    def sentence(self) -> str:
        """The end of the wait."""
        return f"the account with {self.marketplace} rests until {shown(self.until)}: {self.why}"


@dataclass(frozen=True, slots=True)
class CallsBusy(Reason):
    """All concurrent calls of the account are in use. `max_calls`: most of them, over all workers."""

    kind: ClassVar[str] = "calls_busy"
    events: int
    marketplace: str
    held: int
    max_calls: int
    since: datetime

    @property
    def sentence(self) -> str:
        """How many pages wait, and how many calls are in progress."""
        return (
            f"{self.events} waiting since {shown(self.since)} for a call: {self.held} of {self.max_calls} of the"
            f" account with {self.marketplace} are in progress (`marketplaces set {self.marketplace} --max-calls`)"
        )


@dataclass(frozen=True, slots=True)
class ItemEnded(Reason):
    """The item has a result."""

    kind: ClassVar[str] = "done"
    status: str
    external_id: str
    completed_at: datetime
    error_code: str | None
    error_message: str | None

    @property
    def sentence(self) -> str:
        """The status, and the error of a failed or skipped item."""
        why = f" of {self.error_code}" if self.error_code else ""
        message = f": {self.error_message}" if self.error_message else ""
        return f"{self.external_id} is {self.status} since {shown(self.completed_at)}{why}{message}"


@dataclass(frozen=True, slots=True)
class PageEnded(Reason):
    """The page is settled."""

    kind: ClassVar[str] = "done"
    status: str
    cost: int
    completed_at: datetime
    error_code: str | None
    error_message: str | None

    @property
    def sentence(self) -> str:
        """The status, the charge, and the error of a failed page."""
        why = f" of {self.error_code}" if self.error_code else ""
        message = f": {self.error_message}" if self.error_message else ""
        charged = rules.cents(self.cost)
        return f"the page is {self.status} since {shown(self.completed_at)}{why}{message}; {charged} charged"
