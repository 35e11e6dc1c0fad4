"""The model: the actions of producers and operators, and their known results. Thread-safe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Literal
from uuid import UUID

from app.chaos.report import Violation

Kind = Literal["copy", "again", "late", "early", "foreign", "mismatched", "gibberish", "delayed", "reused"]
"""Kind of a delivered event: see `redelivery`, `results` and `scheduler`."""
HOPELESS: tuple[Kind, ...] = ("mismatched", "gibberish")
"""Kinds whose events are always dead-lettered and cannot be replayed."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A submitted job. `names`: those of its items, unique in a run. `content`: what the domain submits."""

    workspace_id: UUID
    key: str
    names: frozenset[str]
    content: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Reused:
    """An event with the id of another event. `is_taken`: the other one was applied or dead when this was published."""

    event_id: UUID
    is_taken: bool


@dataclass(slots=True)
class Model:
    """Submitted jobs and delivered events, with their known results."""

    accepted: dict[str, tuple[Submission, UUID]] = field(default_factory=dict)
    rolled_back: dict[str, Submission] = field(default_factory=dict)
    unknown: dict[str, Submission] = field(default_factory=dict)
    delivered: dict[UUID, Kind] = field(default_factory=dict)
    unpublished: set[UUID] = field(default_factory=set)
    delayed: dict[UUID, datetime] = field(default_factory=dict)
    """Events published with a delay, with the earliest due time of each by the database's clock."""
    reused: dict[str, Reused] = field(default_factory=dict)
    """Events with ids of other events, by their unique error message."""
    complaints: list[Violation] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def intend(self, submission: Submission) -> None:
        """Note a submit that is about to begin. Its result is unknown."""
        with self._lock:
            self.unknown[submission.key] = submission

    def accept(self, submission: Submission, job_id: UUID) -> None:
        """Note a committed submit. A repeated key must return the same job."""
        with self._lock:
            self.unknown.pop(submission.key, None)
            before = self.accepted.setdefault(submission.key, (submission, job_id))[1]
            if before != job_id:
                self.complaints.append(Violation("one key, one job", f"{submission.key}: {before} and {job_id}"))

    def take_back(self, submission: Submission) -> None:
        """Note a submit that was rolled back: its job must not exist."""
        with self._lock:
            self.unknown.pop(submission.key, None)
            self.rolled_back[submission.key] = submission

    def deliver(self, events: Iterable[UUID], kind: Kind) -> None:
        """Note events whose publication was committed."""
        with self._lock:
            for event_id in events:
                # Copies of a hopeless event stay hopeless.
                if kind in HOPELESS or event_id not in self.delivered:
                    self.delivered[event_id] = kind

    def delay(self, events: Iterable[UUID], due_at: datetime) -> None:
        """Note events to be published with a delay. Of several attempts the first counts: it may have committed."""
        with self._lock:
            for event_id in events:
                self.delayed.setdefault(event_id, due_at)

    def is_delayed(self, event_id: UUID) -> bool:
        """Return whether an event was published with a delay. A copy without one would be applied too early."""
        with self._lock:
            return event_id in self.delayed

    def reuse(self, event_id: UUID, message: str, *, is_taken: bool) -> None:
        """Note an event to be published with the id of another event."""
        with self._lock:
            self.reused[message] = Reused(event_id, is_taken)

    def take_back_events(self, events: Iterable[UUID]) -> None:
        """Note events whose publication was rolled back: they must not exist."""
        with self._lock:
            self.unpublished.update(events)

    def complain(self, law: str, detail: str) -> None:
        """Add a violation."""
        with self._lock:
            self.complaints.append(Violation(law, detail))

    def count(self, what: str) -> None:
        """Count an action for the report."""
        with self._lock:
            self.done[what] += 1

    @property
    def hopeless(self) -> set[UUID]:
        """Return the events that must be dead letters."""
        with self._lock:
            return {event_id for event_id, kind in self.delivered.items() if kind in HOPELESS}
