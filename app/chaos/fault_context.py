"""Fault context: the objects that a fault acts on, and its result."""

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
"""Pids of registered workers with a liveness session. A worker without one has no signal handlers yet."""
BUSY = """
SELECT w.pid FROM engine.workers w JOIN public.procrastinate_jobs j ON j.worker_id = w.worker_id AND j.status = 'doing'
"""
T = TypeVar("T")
_BACK_LIMIT_S = 20.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Freeze:
    """A worker that was stopped by SIGSTOP: its calls in progress, and the times of the stop and the continuation."""

    pid: int
    calls: frozenset[UUID]
    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a fault. `undo` ends it after `lasts` seconds."""

    detail: str
    lasts: float = 0.0
    undo: Callable[[], None] | None = None


@dataclass(slots=True)
class FaultContext:
    """The objects that faults act on, and the random generator of the current fault. `freezes`: ended freezes."""

    stage: Stage
    worker_pool: WorkerPool
    watch: Watch
    seconds: float
    """Duration of the faults in the run. Long faults last a part of it."""
    dice: random.Random = field(default_factory=random.Random)
    freezes: list[Freeze] = field(default_factory=list)

    def is_complete(self) -> bool:
        """Return whether every worker is registered in the database. False during an outage."""
        try:
            with self.stage.overlook() as connection:
                pids = {pid for (pid,) in connection.execute(REGISTERED)}
        except psycopg.Error:
            return False
        return pids.issuperset(worker.pid for worker in self.worker_pool.workers)

    def some_worker(self, statement: LiteralString) -> Worker | None:
        """Return a random worker among the pids of a query, without signalled ones; None if there is none."""
        with self.stage.overlook() as connection:
            pids = {pid for (pid,) in connection.execute(statement)}
        found = [worker for worker in self.worker_pool.at_work() if worker.pid in pids]
        return self.pick(found) if found else None

    def pick(self, found: Sequence[T]) -> T:
        """Return a random element with one draw, so that later draws do not depend on the number of elements."""
        return found[int(self.dice.random() * len(found))]

    def interrupt(self, kind: str, at: float, pid: int) -> int:
        """Watch the current deliveries of a killed or frozen worker. Returns their number."""
        with self.stage.overlook() as connection:
            leases = in_hand(connection, pid)
        self.watch.interrupted(kind, leases, at)
        return len(leases)

    def interrupt_all(self, kind: str, at: float, before: Iterable[Lease]) -> str:
        """Watch the deliveries of `before` that are still open after an outage. Returns a text for the report."""
        end = time.monotonic() + _BACK_LIMIT_S
        while time.monotonic() < end:
            with suppress(psycopg.Error), self.stage.overlook() as connection:
                interrupted = set(before) & set(in_hand(connection))
                self.watch.interrupted(kind, interrupted, at)
                return f"{len(interrupted)} deliveries in progress, {time.monotonic() - at:.1f} s away"
            time.sleep(_LOOK_EVERY_S)
        return f"not back after {_BACK_LIMIT_S:.0f} s"
