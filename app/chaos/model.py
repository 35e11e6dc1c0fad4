"""The model: what the outside world did and what it was promised. Safe to be used from several threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Literal
from uuid import UUID

from app.chaos.report import Violation

Kind = Literal["copy", "again", "late", "early", "foreign", "stranger", "gibberish", "delayed", "reused"]
"""How a delivered event relates to what the program knows: see `redelivery` and `scheduler`."""
HOPELESS: tuple[Kind, ...] = ("stranger", "gibberish")
"""Those that can only die, and stay dead."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that somebody submits; `references` are those of its orders."""

    workspace_id: UUID
    key: str
    references: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reused:
    """An event whose id belongs to another event too; `is_applied`: to one that was applied before it was published."""

    event_id: UUID
    is_applied: bool


@dataclass(frozen=True, slots=True)
class CancelledOrder:
    """An order whose cancel was committed before `at`; `is_begun`: a robot may have begun to enter it by then."""

    at: datetime
    is_begun: bool


@dataclass(slots=True)
class Model:
    """What was submitted and delivered, as far as the process that did it knows how it ended."""

    accepted: dict[str, tuple[Submission, UUID]] = field(default_factory=dict)
    taken_back: dict[str, Submission] = field(default_factory=dict)
    unknown: dict[str, Submission] = field(default_factory=dict)
    delivered: dict[UUID, Kind] = field(default_factory=dict)
    never_said: set[UUID] = field(default_factory=set)
    delayed: dict[UUID, datetime] = field(default_factory=dict)
    """Events that are published with a delay, and when each is due at the earliest, by the database's clock."""
    cancelled: dict[UUID, CancelledOrder] = field(default_factory=dict)
    reused: dict[str, Reused] = field(default_factory=dict)
    """Events with ids of other events, by the error message that tells each apart."""
    tracking_numbers: set[str] = field(default_factory=set)
    complaints: list[Violation] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def intend(self, submission: Submission) -> None:
        """Somebody is about to submit: until they know how it ended, nothing is promised."""
        with self._lock:
            self.unknown[submission.key] = submission

    def accept(self, submission: Submission, job_id: UUID) -> None:
        """The commit is known. A key that was accepted before must stand for the same job."""
        with self._lock:
            self.unknown.pop(submission.key, None)
            before = self.accepted.setdefault(submission.key, (submission, job_id))[1]
            if before != job_id:
                self.complaints.append(Violation("one key, one job", f"{submission.key}: {before} and {job_id}"))

    def take_back(self, submission: Submission) -> None:
        """It was rolled back: it must not exist."""
        with self._lock:
            self.unknown.pop(submission.key, None)
            self.taken_back[submission.key] = submission

    def deliver(self, events: Iterable[UUID], kind: Kind) -> None:
        """Events of which the commit is known."""
        with self._lock:
            for event_id in events:
                # An event that was delivered as a stranger is one, however often it is copied.
                if kind in HOPELESS or event_id not in self.delivered:
                    self.delivered[event_id] = kind

    def delay(self, events: Iterable[UUID], due_at: datetime) -> None:
        """Events are about to be published with a delay. Of several tries the first counts: it may have committed."""
        with self._lock:
            for event_id in events:
                self.delayed.setdefault(event_id, due_at)

    def is_delayed(self, event_id: UUID) -> bool:
        """Whether an event was published with a delay: a copy without one would be applied before it is due."""
        with self._lock:
            return event_id in self.delayed

    def cancel(self, order_id: UUID, at: datetime, *, is_begun: bool) -> None:
        """An order's cancel is known to be committed. Of several cancels the first counts."""
        with self._lock:
            self.cancelled.setdefault(order_id, CancelledOrder(at, is_begun))

    def reuse(self, event_id: UUID, message: str, *, is_applied: bool) -> None:
        """An event is about to be published with an id that another event has or will have."""
        with self._lock:
            self.reused[message] = Reused(event_id, is_applied)

    def take_back_events(self, events: Iterable[UUID]) -> None:
        """Events that were published and rolled back: they must never be heard of."""
        with self._lock:
            self.never_said.update(events)

    def track(self, number: str) -> None:
        """A tracking number that may have come from somebody else than the robots."""
        with self._lock:
            self.tracking_numbers.add(number)

    def complain(self, law: str, detail: str) -> None:
        """Something is wrong that shows at once."""
        with self._lock:
            self.complaints.append(Violation(law, detail))

    def count(self, what: str) -> None:
        """Somebody did something: for the report."""
        with self._lock:
            self.done[what] += 1

    @property
    def hopeless(self) -> set[UUID]:
        """Events that can only be dead."""
        with self._lock:
            return {event_id for event_id, kind in self.delivered.items() if kind in HOPELESS}
