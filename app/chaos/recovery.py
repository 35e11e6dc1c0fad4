"""Recovery: how long after a fault the work that was in hand goes on.

What was in hand are queue rows, each with the attempts and the worker of the delivery that had it. A delivery has gone
on when its row is gone, or in hand again under another lease: finished, or taken by somebody else.
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
    """A delivery: a queue row in the hand of a worker, for the so-manieth time."""

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
    """The deliveries that the worker process `pid` has in hand, or all of them."""
    return connection.cursor(row_factory=class_row(Lease)).execute(_IN_HAND, {"pid": pid}).fetchall()


class Watch(threading.Thread):
    """Looks ten times a second whether interrupted deliveries have gone on."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(name="watch", daemon=True)
        self._stage = stage
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[Lease, _Interrupted] = {}
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def interrupted(self, kind: str, leases: Iterable[Lease], at: float) -> None:
        """A fault of this kind, at this reading of the monotonic clock, interrupted these deliveries."""
        with self._lock:
            for lease in leases:
                # One that is interrupted twice has been waiting since the first time.
                self._waiting.setdefault(lease, _Interrupted(kind, at))

    def seconds(self) -> dict[str, list[float]]:
        """How long it took, by the kind of fault."""
        with self._lock:
            return {kind: list(some) for kind, some in sorted(self._seconds.items())}

    def still_waiting(self) -> list[Lease]:
        """Deliveries that have not gone on."""
        with self._lock:
            return list(self._waiting)

    def run(self) -> None:
        """Look until told that it is over."""
        while not self._over.is_set():
            with suppress(psycopg.Error), self._stage.overlook() as connection:
                while not self._over.wait(_LOOK_EVERY_S):
                    self._look(connection)
            self._over.wait(_LOOK_EVERY_S)

    def finish(self) -> None:
        """Stop looking."""
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
