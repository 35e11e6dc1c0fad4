"""Reasons: why an event has not been applied yet, each a type of its own with what an operator needs to know.

A reason speaks for `events` of them at once, so that a batch of a million has a handful of reasons.
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
    """Why something does not run: `kind` for programs, `sentence` for people, the fields for both."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def sentence(self) -> str:
        """The reason in a sentence."""

    def with_times(self, convert: Callable[[datetime], datetime]) -> Self:
        """The same reason with every time converted, to another time zone say."""
        times = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: convert(at) for name, at in times.items() if isinstance(at, datetime)})


@dataclass(frozen=True, slots=True)
class InHand(Reason):
    """A worker is delivering it since `since`; `is_stale` when that worker has not been heard of for too long."""

    kind: ClassVar[str] = "in_hand"
    events: int
    queue: str
    row_id: int
    worker: str | None
    since: datetime | None
    is_stale: bool

    @property
    def sentence(self) -> str:
        """Whose hands, and whether they move."""
        since = f" since {shown(self.since)}" if self.since else ""
        whose = f"worker {self.worker}" if self.worker else "a worker that is gone"
        dead = "; it is taken for dead, the next rescue by a live worker frees the row" if self.is_stale else ""
        return f"{counted(self.events)} in hand of {whose}{since} (queue {self.queue}, row {self.row_id}){dead}"


@dataclass(frozen=True, slots=True)
class Failed(Reason):
    """Procrastinate failed the row without our code, and the sweep has not been there yet."""

    kind: ClassVar[str] = "failed"
    events: int
    queue: str
    row_id: int

    @property
    def sentence(self) -> str:
        """What happens to it."""
        return f"{counted(self.events)} in row {self.row_id} that the queue failed; the sweep makes a dead letter of it"


@dataclass(frozen=True, slots=True)
class InDoubt(Reason):
    """An outside call for it was begun at `begun_at` and no worker that lives knows what came of it."""

    kind: ClassVar[str] = "in_doubt"
    events: int
    event_id: UUID
    begun_at: datetime
    tries: int

    @property
    def sentence(self) -> str:
        """What happened, and what will."""
        return (
            f"{counted(self.events)} in doubt: a call was begun at {shown(self.begun_at)} and has no recorded outcome;"
            " the next delivery asks the other side first"
        )


@dataclass(frozen=True, slots=True)
class Dead(Reason):
    """Not tried again until an admin says so; `letter_id` is its letter, or one of those with the same failure."""

    kind: ClassVar[str] = "dead"
    events: int
    letter_id: UUID
    type: str
    error: str
    since: datetime
    fingerprint: str | None

    @property
    def sentence(self) -> str:
        """Of what, since when, and where to look."""
        return f"{counted(self.events)} dead since {shown(self.since)} of {self.error} (`dead show {self.letter_id}`)"


@dataclass(frozen=True, slots=True)
class Done(Reason):
    """It is in the ledger: nothing will happen, and nothing has to."""

    kind: ClassVar[str] = "done"
    type: str
    applied_at: datetime

    @property
    def sentence(self) -> str:
        """Since when."""
        return f"{self.type} was applied at {shown(self.applied_at)}"


def counted(events: int) -> str:
    """The subject and verb of a sentence about so many events."""
    return "1 event is" if events == 1 else f"{events} events are"


def shown(instant: datetime) -> str:
    """An instant as the sentences write it."""
    return f"{instant:%Y-%m-%d %H:%M:%S%z}"
