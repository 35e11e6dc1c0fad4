"""Recovery: time from a fault until interrupted deliveries continue.

An interrupted delivery is a queue row with the attempts and the worker of its lease. It has continued if the row was
removed, or is in delivery under another lease.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from app.chaos.stage import Stage
from app.context import Connection

_LOOK_EVERY_S = 0.1

_IN_HAND = """
SELECT j.id AS row_id, j.attempts, j.worker_id
  FROM public.procrastinate_jobs j LEFT JOIN engine.workers w ON w.worker_id = j.worker_id
 WHERE j.status = 'doing' AND (%(pid)s::integer IS NULL OR w.pid = %(pid)s)
"""
_STILL = """
SELECT id AS row_id, attempts, worker_id, status = 'doing' AS is_in_hand
  FROM public.procrastinate_jobs WHERE id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A delivery's lease: queue row, number of attempts and worker."""

    row_id: int
    attempts: int
    worker_id: int | None


@dataclass(frozen=True, slots=True)
class _Now:
    row_id: int
    attempts: int
    worker_id: int | None
    is_in_hand: bool


@dataclass(frozen=True, slots=True)
class _Interrupted:
    kind: str
    at: float


def in_hand(connection: Connection, pid: int | None = None) -> list[Lease]:
    """Return the current deliveries of the worker process `pid`, or of all workers."""
    return connection.cursor(row_factory=class_row(Lease)).execute(_IN_HAND, {"pid": pid}).fetchall()


class Watch(threading.Thread):
    """A thread that checks ten times a second whether interrupted deliveries have continued."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(name="watch", daemon=True)
        self._stage = stage
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[Lease, _Interrupted] = {}
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def interrupted(self, kind: str, leases: Iterable[Lease], at: float) -> None:
        """Note deliveries that a fault interrupted. `kind`: of the fault, `at`: its time by the monotonic clock."""
        with self._lock:
            for lease in leases:
                # A delivery that is interrupted twice waits from the first time.
                self._waiting.setdefault(lease, _Interrupted(kind, at))

    def seconds(self) -> dict[str, list[float]]:
        """Return the seconds until deliveries continued, by kind of fault."""
        with self._lock:
            return {kind: list(some) for kind, some in sorted(self._seconds.items())}

    def still_waiting(self) -> list[Lease]:
        """Return the deliveries that have not continued."""
        with self._lock:
            return list(self._waiting)

    def run(self) -> None:
        """Check until `finish`."""
        while not self._over.is_set():
            with suppress(psycopg.Error), self._stage.overlook() as connection:
                while not self._over.wait(_LOOK_EVERY_S):
                    self._look(connection)
            self._over.wait(_LOOK_EVERY_S)

    def finish(self) -> None:
        """Stop the thread."""
        self._over.set()
        self.join()

    def _look(self, connection: Connection) -> None:
        waiting = self.still_waiting()
        if not waiting:
            return
        cursor = connection.cursor(row_factory=class_row(_Now))
        rows = {row.row_id: row for row in cursor.execute(_STILL, [[lease.row_id for lease in waiting]])}
        now = time.monotonic()
        with self._lock:
            for lease in waiting:
                if _went_on(lease, rows.get(lease.row_id)):
                    before = self._waiting.pop(lease)
                    self._seconds[before.kind].append(now - before.at)


def _went_on(lease: Lease, row: _Now | None) -> bool:
    if row is None:
        return True
    return row.is_in_hand and (row.attempts, row.worker_id) != (lease.attempts, lease.worker_id)
