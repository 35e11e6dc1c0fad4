"""Reasons why events wait: share, delay, row lock, concurrency limit, cooldown, order, pause, or no worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.engine.inspect.reasons import Reason, counted, shown


@dataclass(frozen=True, slots=True)
class Waiting(Reason):
    """The events are due. `ahead`: rows of the queue that are fetched before their first row."""

    kind: ClassVar[str] = "waiting"
    events: int
    queue: str
    row_id: int
    ahead: int

    @property
    def sentence(self) -> str:
        """The position in the queue."""
        where = f"behind {self.ahead} others" if self.ahead else "at the front"
        return f"{counted(self.events)} waiting in queue {self.queue} {where} (row {self.row_id})"


@dataclass(frozen=True, slots=True)
class WaitingForShare(Reason):
    """Effects' events that are due. `ahead`: rows of the same account that are fetched before their first row.

    `weight / total` is the tenant's share of each worker's deliveries. `total`: the weight of all `tenants` that have
    effects' events due or in delivery in the queue, including this tenant.
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
        """The position among the account's rows, and the tenant's share."""
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
    """Delayed until `until`, the last of several rows until `last_until`. `error`: the error of the last delivery.

    `row_id`: the first of the rows, in `engine.delayed`.
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
        """The end of the delay, and the error."""
        until = (
            shown(self.until) if self.until == self.last_until else f"{shown(self.until)} to {shown(self.last_until)}"
        )
        why = f" after {self.error}" if self.error else ""
        tried = f", {self.attempt} deliveries so far" if self.attempt else ""
        where = f"queue {self.queue}, delayed row {self.row_id}{tried}"
        return f"{counted(self.events)} put back until {until}{why} ({where})"


@dataclass(frozen=True, slots=True)
class LockHeld(Reason):
    """A row that the handler must lock was locked. `pid`: the session that holds the lock now; None if no session does.

    `since`: the start of the session's transaction. `state` and `since` are None if PostgreSQL does not show them to
    this login.
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
        """Which session holds the lock, and how to end it."""
        what = f"{counted(self.events)} waiting for a lock on {self.table} {self.id}"
        if self.pid is None:
            return f"{what}, which no session holds any more: the next delivery applies them"
        since = f", in a transaction since {shown(self.since)}" if self.since else ""
        whose = f"{self.login or '?'}{f', {self.application}' if self.application else ''}"
        state = f", {self.state}" if self.state else ""
        return (
            f"{what}: session {self.pid} ({whose}{state}{since}) holds it; end its transaction,"
            f" or `SELECT pg_terminate_backend({self.pid})`"
        )


@dataclass(frozen=True, slots=True)
class UnknownHere(Reason):
    """A type or version that the last worker did not know. The next delivery is at `until`."""

    kind: ClassVar[str] = "unknown_here"
    events: int
    queue: str
    row_id: int
    until: datetime
    error: str

    @property
    def sentence(self) -> str:
        """What the events wait for, and for how long."""
        return (
            f"{counted(self.events)} waiting for a worker that knows the type and version: {self.error}"
            f" (queue {self.queue}, row {self.row_id}, next delivery at {shown(self.until)}; dead letters after"
            " TALLYMAN_UNKNOWN_PATIENCE; `workers list` shows which versions run)"
        )


@dataclass(frozen=True, slots=True)
class Parked(Reason):
    """All slots of the concurrency limit `key` were taken at the last delivery. `held`: slots taken now."""

    kind: ClassVar[str] = "parked"
    events: int
    queue: str
    row_id: int
    key: str
    held: int
    since: datetime

    @property
    def sentence(self) -> str:
        """The concurrency limit, and how many slots are taken."""
        return f"{counted(self.events)} parked since {shown(self.since)}: {self.held} slots of {self.key} are taken"


@dataclass(frozen=True, slots=True)
class CoolingDown(Reason):
    """A cooldown: the other side asked to wait, so no call under `key` begins before `until`."""

    kind: ClassVar[str] = "resting"
    key: str
    why: str
    until: datetime

    @property
    def sentence(self) -> str:
        """The end of the cooldown, and its reason."""
        return f"no call of {self.key} is made until {shown(self.until)}: {self.why}"


@dataclass(frozen=True, slots=True)
class BehindOthers(Reason):
    """A sequenced event must wait for `ahead` earlier events of its subject. `first_id`: the first of them."""

    kind: ClassVar[str] = "in_line"
    events: int
    subject_id: UUID
    ahead: int
    first_id: UUID

    @property
    def sentence(self) -> str:
        """The number of earlier events, and the first of them."""
        return (
            f"{counted(self.events)} ordered behind {self.ahead} others of subject {self.subject_id}"
            f" (`explain event {self.first_id}`)"
        )


@dataclass(frozen=True, slots=True)
class QueuePaused(Reason):
    """The queue is paused: no worker fetches from it until an operator resumes it."""

    kind: ClassVar[str] = "queue_paused"
    queue: str
    by: str
    why: str
    since: datetime

    @property
    def sentence(self) -> str:
        """The pause's author, time and reason."""
        return (
            f"queue {self.queue} is paused since {shown(self.since)} by {self.by}: {self.why} "
            f"(`queues resume {self.queue}`)"
        )


@dataclass(frozen=True, slots=True)
class NobodyServes(Reason):
    """No live worker serves the queue."""

    kind: ClassVar[str] = "no_worker"
    queue: str

    @property
    def sentence(self) -> str:
        """The command that starts a worker."""
        return f"no worker serves queue {self.queue} (`work --queue {self.queue}`, or `work` for all)"
