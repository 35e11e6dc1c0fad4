"""Reasons why an event has not been applied yet. Each reason is a type with the fields that an operator needs.

One reason covers many events (`events`: their number), so a batch of a million events has few reasons.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Reason(ABC):
    """A reason why an event, item or job does not progress. `kind` is for programs, `sentence` for users."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def sentence(self) -> str:
        """The reason in a sentence."""

    def with_times(self, convert: Callable[[datetime], datetime]) -> Self:
        """Return the reason with every time converted, for example to another time zone."""
        times = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: convert(at) for name, at in times.items() if isinstance(at, datetime)})


@dataclass(frozen=True, slots=True)
class InHand(Reason):
    """A worker has been delivering the events since `since`. `is_stale`: that worker's heartbeat is too old."""

    kind: ClassVar[str] = "in_hand"
    events: int
    queue: str
    row_id: int
    worker: str | None
    since: datetime | None
    is_stale: bool

    @property
    def sentence(self) -> str:
        """Which worker delivers the events, and whether that worker is alive."""
        since = f" since {shown(self.since)}" if self.since else ""
        whose = f"worker {self.worker}" if self.worker else "a worker that is gone"
        dead = "; it is taken for dead, the next rescue by a live worker frees the row" if self.is_stale else ""
        return f"{counted(self.events)} in hand of {whose}{since} (queue {self.queue}, row {self.row_id}){dead}"


@dataclass(frozen=True, slots=True)
class Failed(Reason):
    """Procrastinate marked the row as failed, and the sweep has not dead-lettered its events yet."""

    kind: ClassVar[str] = "failed"
    events: int
    queue: str
    row_id: int

    @property
    def sentence(self) -> str:
        """What happens to the events."""
        return f"{counted(self.events)} in row {self.row_id} that the queue failed; the sweep makes a dead letter of it"


@dataclass(frozen=True, slots=True)
class InDoubt(Reason):
    """An outside call was begun at `begun_at`, has no recorded outcome, and no live worker makes it."""

    kind: ClassVar[str] = "in_doubt"
    events: int
    event_id: UUID
    begun_at: datetime
    tries: int

    @property
    def sentence(self) -> str:
        """When the call was begun, and what the next delivery does."""
        return (
            f"{counted(self.events)} in doubt: a call was begun at {shown(self.begun_at)} and has no recorded outcome;"
            " the next delivery asks the other side first"
        )


@dataclass(frozen=True, slots=True)
class Dead(Reason):
    """Dead-lettered: not retried until an admin replays it. `letter_id`: the oldest letter with this failure."""

    kind: ClassVar[str] = "dead"
    events: int
    letter_id: UUID
    type: str
    error: str
    since: datetime
    fingerprint: str | None

    @property
    def sentence(self) -> str:
        """The error, the time, and the command that shows the letter."""
        return f"{counted(self.events)} dead since {shown(self.since)} of {self.error} (`dead show {self.letter_id}`)"


@dataclass(frozen=True, slots=True)
class Done(Reason):
    """The event is in the ledger. It needs no further delivery."""

    kind: ClassVar[str] = "done"
    type: str
    applied_at: datetime

    @property
    def sentence(self) -> str:
        """When the event was applied."""
        return f"{self.type} was applied at {shown(self.applied_at)}"


def counted(events: int) -> str:
    """Return the subject and verb of a sentence about this number of events."""
    return "1 event is" if events == 1 else f"{events} events are"


def shown(instant: datetime) -> str:
    """Return a time in the format of the sentences."""
    return f"{instant:%Y-%m-%d %H:%M:%S%z}"
