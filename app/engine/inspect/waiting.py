"""Reasons of events that wait: for their share, a time, a lock, a slot, a worker, or the end of a pause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.engine.inspect.reasons import Reason, counted, shown


@dataclass(frozen=True, slots=True)
class Waiting(Reason):
    """Due; `ahead` rows of the queue are taken before its first one."""

    kind: ClassVar[str] = "waiting"
    events: int
    queue: str
    row_id: int
    ahead: int

    @property
    def sentence(self) -> str:
        """What it waits behind."""
        where = f"behind {self.ahead} others" if self.ahead else "at the front"
        return f"{counted(self.events)} waiting in queue {self.queue} {where} (row {self.row_id})"


@dataclass(frozen=True, slots=True)
class WaitingForShare(Reason):
    """Effects that are due; `ahead` rows of the same account are taken before its first one.

    The tenant has `weight` of the `total` weight of the `tenants` that have effects due or in hand in the queue, itself
    included: so large is its part of each worker's deliveries.
    """

    kind: ClassVar[str] = "waiting"
    events: int
    queue: str
    row_id: int
    ahead: int
    weight: float
    total: float
    tenants: int

    @property
    def sentence(self) -> str:
        """What it waits behind, and what its tenant's part is."""
        rows = "1 row" if self.ahead == 1 else f"{self.ahead} rows"
        where = f"behind {rows} of its own" if self.ahead else "at the front of its own rows"
        part = "all deliveries"
        if self.tenants > 1:
            part = (
                f"{self.weight / self.total:.0%} of the deliveries (weight {self.weight:g} of {self.total:g},"
                f" {self.tenants} tenants)"
            )
        return f"{counted(self.events)} waiting in queue {self.queue} {where} (row {self.row_id}); its share is {part}"


@dataclass(frozen=True, slots=True)
class PutBack(Reason):
    """Delayed until `until` (the last of several: `last_until`), because of `error` if one brought it back.

    `row_id` is the first of the rows, in `engine.delayed`.
    """

    kind: ClassVar[str] = "put_back"
    events: int
    queue: str
    row_id: int
    until: datetime
    last_until: datetime
    attempt: int
    error: str | None

    @property
    def sentence(self) -> str:
        """Until when, and after what."""
        until = (
            shown(self.until) if self.until == self.last_until else f"{shown(self.until)} to {shown(self.last_until)}"
        )
        why = f" after {self.error}" if self.error else ""
        tried = f", {self.attempt} deliveries behind it" if self.attempt else ""
        where = f"queue {self.queue}, delayed row {self.row_id}{tried}"
        return f"{counted(self.events)} put back until {until}{why} ({where})"


@dataclass(frozen=True, slots=True)
class LockHeld(Reason):
    """A row that its handler must lock was locked; session `pid` holds the lock now, or nobody if it is None.

    `state` and `since` (when its transaction began) are None where PostgreSQL does not show them to this login.
    """

    kind: ClassVar[str] = "lock_held"
    events: int
    table: str
    id: UUID
    pid: int | None
    login: str | None = None
    application: str | None = None
    state: str | None = None
    since: datetime | None = None

    @property
    def sentence(self) -> str:
        """Who holds it, and how it ends."""
        what = f"{counted(self.events)} waiting for a lock on {self.table} {self.id}"
        if self.pid is None:
            return f"{what}, which nobody holds any more: the next delivery applies them"
        since = f", in a transaction since {shown(self.since)}" if self.since else ""
        whose = f"{self.login or '?'}{f', {self.application}' if self.application else ''}"
        state = f", {self.state}" if self.state else ""
        return (
            f"{what}: session {self.pid} ({whose}{state}{since}) holds it; end its transaction,"
            f" or `SELECT pg_terminate_backend({self.pid})`"
        )


@dataclass(frozen=True, slots=True)
class UnknownHere(Reason):
    """Of a type or version that the worker which had it did not know; the next look is at `until`."""

    kind: ClassVar[str] = "unknown_here"
    events: int
    queue: str
    row_id: int
    until: datetime
    error: str

    @property
    def sentence(self) -> str:
        """What it waits for."""
        return (
            f"{counted(self.events)} waiting for a worker that knows the type and version: {self.error}"
            f" (queue {self.queue}, row {self.row_id}, next delivery at {shown(self.until)}; dead letters after"
            " TALLYMAN_UNKNOWN_PATIENCE; `workers list` shows which versions run)"
        )


@dataclass(frozen=True, slots=True)
class Parked(Reason):
    """Every slot of the concurrency limit `key` was taken when it was delivered; `held` are taken now."""

    kind: ClassVar[str] = "parked"
    events: int
    queue: str
    row_id: int
    key: str
    held: int
    since: datetime

    @property
    def sentence(self) -> str:
        """Which slots are taken."""
        return f"{counted(self.events)} parked since {shown(self.since)}: {self.held} slots of {self.key} are taken"


@dataclass(frozen=True, slots=True)
class CoolingDown(Reason):
    """The other side said to come back later: no call under `key` is begun before `until`."""

    kind: ClassVar[str] = "resting"
    key: str
    why: str
    until: datetime

    @property
    def sentence(self) -> str:
        """Until when, and what the other side said."""
        return f"no call of {self.key} is made until {shown(self.until)}: {self.why}"


@dataclass(frozen=True, slots=True)
class BehindOthers(Reason):
    """Its type is applied in order, subject by subject, and `ahead` events come before it, `first_id` first."""

    kind: ClassVar[str] = "in_line"
    events: int
    subject_id: UUID
    ahead: int
    first_id: UUID

    @property
    def sentence(self) -> str:
        """Who comes first."""
        return (
            f"{counted(self.events)} ordered behind {self.ahead} others of subject {self.subject_id}"
            f" (`explain event {self.first_id}`)"
        )


@dataclass(frozen=True, slots=True)
class QueuePaused(Reason):
    """No worker takes from its queue until somebody resumes it."""

    kind: ClassVar[str] = "queue_paused"
    queue: str
    by: str
    why: str
    since: datetime

    @property
    def sentence(self) -> str:
        """By whom and why."""
        return (
            f"queue {self.queue} is paused since {shown(self.since)} by {self.by}: {self.why} "
            f"(`queues resume {self.queue}`)"
        )


@dataclass(frozen=True, slots=True)
class NobodyServes(Reason):
    """No worker that lives serves its queue."""

    kind: ClassVar[str] = "no_worker"
    queue: str

    @property
    def sentence(self) -> str:
        """What to start."""
        return f"no worker serves queue {self.queue} (`work --queue {self.queue}`, or `work` for all)"
