"""Fault context: what a fault acts on, and what it reports."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString, TypeVar
from uuid import UUID

import psycopg

from app.chaos.recovery import Lease, Watch, in_hand
from app.chaos.stage import Stage
from app.chaos.worker_pool import Worker, WorkerPool

REGISTERED = """
SELECT w.pid FROM engine.workers w WHERE w.worker_id NOT IN (SELECT g.worker_id FROM engine.gone_workers() g)
"""
"""The pids of workers that have begun to work and have a liveness session. A younger one dies of a signal."""
BUSY = """
SELECT w.pid FROM engine.workers w JOIN public.procrastinate_jobs j ON j.worker_id = w.worker_id AND j.status = 'doing'
"""
T = TypeVar("T")
_BACK_LIMIT_S = 20.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Freeze:
    """A worker that was stopped in the middle: the calls that it had in hand, and from when to when."""

    pid: int
    calls: frozenset[UUID]
    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What a fault did; after `lasts` seconds `undo` ends it."""

    detail: str
    lasts: float = 0.0
    undo: Callable[[], None] | None = None


@dataclass(slots=True)
class FaultContext:
    """What faults are done to, with the dice of the fault that is being done. `freezes` are those that ended."""

    stage: Stage
    worker_pool: WorkerPool
    watch: Watch
    seconds: float
    """How long faults are done: what lasts long lasts a part of it."""
    dice: random.Random = field(default_factory=random.Random)
    freezes: list[Freeze] = field(default_factory=list)

    def is_complete(self) -> bool:
        """Whether every worker is at work, as far as the database knows; False while that is away."""
        try:
            with self.stage.overlook() as connection:
                pids = {pid for (pid,) in connection.execute(REGISTERED)}
        except psycopg.Error:
            return False
        return pids.issuperset(worker.pid for worker in self.worker_pool.workers)

    def somebody(self, statement: LiteralString) -> Worker | None:
        """One of the workers whose pids a query returns; those that were told something are left alone."""
        with self.stage.overlook() as connection:
            pids = {pid for (pid,) in connection.execute(statement)}
        found = [worker for worker in self.worker_pool.at_work() if worker.pid in pids]
        return self.pick(found) if found else None

    def pick(self, found: Sequence[T]) -> T:
        """One of several, with one draw however many there are: what is drawn next does not depend on their number."""
        return found[int(self.dice.random() * len(found))]

    def interrupt(self, kind: str, at: float, pid: int) -> int:
        """Have it watched how what a worker had in hand goes on, which it cannot change any more; how much that is."""
        with self.stage.overlook() as connection:
            leases = in_hand(connection, pid)
        self.watch.interrupted(kind, leases, at)
        return len(leases)

    def interrupt_all(self, kind: str, at: float, before: Iterable[Lease]) -> str:
        """The same after an outage, for the deliveries of all that were in hand before it and did not just end."""
        end = time.monotonic() + _BACK_LIMIT_S
        while time.monotonic() < end:
            with suppress(psycopg.Error), self.stage.overlook() as connection:
                interrupted = set(before) & set(in_hand(connection))
                self.watch.interrupted(kind, interrupted, at)
                return f"{len(interrupted)} deliveries in hand, {time.monotonic() - at:.1f} s away"
            time.sleep(_LOOK_EVERY_S)
        return f"not back after {_BACK_LIMIT_S:.0f} s"
