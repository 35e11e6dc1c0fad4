"""Waits: how long due rows wait while other rows are processed.

A slow machine delays all rows, which is no violation. A wait therefore counts only while the database answers and the
row is neither locked nor in a paused queue. A row is a violation if it has waited too long and too much work of the
same kind (applied events, ended calls) has passed it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx
import psycopg
from psycopg.rows import class_row

from app.chaos.part import WatchedQueue
from app.chaos.report import Violation, Wait
from app.chaos.stage import Stage
from app.context import Connection
from app.engine.routing import EVENTS_QUEUE

LONGEST_S = 10.0
"""Seconds that a row may wait while others are processed. A violation exceeds this and `WatchedQueue.most_passed`."""
_MOST_EVENTS = 1000
"""Applied events allowed during a wait."""
_LOOK_EVERY_S = 0.5
_LONGEST_LOOK_S = 1.0
"""Most seconds that a pause between two checks counts: the state in between is unknown."""
_EACH = 20

# Locks the rows briefly: a row that another session holds cannot be fetched, so it does not wait for a worker.
_DUE = """
SELECT j.id AS row_id, j.queue_name::text AS queue FROM public.procrastinate_jobs j
 WHERE j.status = 'todo' AND j.queue_name = %(queue)s AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
   AND (%(tenant)s::text IS NULL OR j.args ->> 'share' LIKE %(tenant)s || '%%')
   AND NOT EXISTS (SELECT FROM engine.paused_queues p WHERE p.queue_name = j.queue_name)
 ORDER BY j.priority DESC, j.id LIMIT %(most)s
   FOR KEY SHARE OF j SKIP LOCKED
"""
_APPLIED = "SELECT count(*) FROM engine.event_log"


@dataclass(frozen=True, slots=True)
class _Row:
    row_id: int
    queue: str


@dataclass(frozen=True, slots=True)
class Look:
    """One check: due rows with their queues, work done so far by queue, and the monotonic time in seconds."""

    rows: Mapping[int, str]
    done: Mapping[str, int]
    at: float


class Comparison:
    """Compares each check with the previous one. Collects the longest wait of each queue and the violations."""

    def __init__(self, most_passed: Mapping[str, int]) -> None:
        self.violations: list[Violation] = []
        self.longest: dict[str, Wait] = {queue: Wait(queue) for queue in most_passed}
        self._most_passed = most_passed
        self._waiting: dict[int, Wait] = {}
        self._last: Look | None = None

    def note(self, look: Look) -> None:
        """Add a check. Rows of the previous check have waited since then."""
        before, self._last = self._last, look
        waited = min(_LONGEST_LOOK_S, look.at - before.at) if before else 0.0
        seen, self._waiting = self._waiting, {}
        for row_id, queue in look.rows.items():
            wait = Wait(queue)
            if before is not None and (earlier := seen.get(row_id)) is not None:
                passed = look.done[queue] - before.done[queue]
                wait = Wait(queue, earlier.seconds + waited, earlier.passed + passed)
                self.violations += self._broken(row_id, earlier, wait)
            self._waiting[row_id] = wait
            self.longest[queue] = max(self.longest[queue], wait, key=lambda one: one.seconds)

    def _broken(self, row_id: int, before: Wait, now: Wait) -> Iterator[Violation]:
        """Yield a violation when the wait first exceeds the limits."""
        if self._is_too_long(now) and not self._is_too_long(before):
            waited = f"has waited for {now.seconds:.1f} s while {now.passed} others were done"
            law = "due work goes on beside a flood, a hanging portal and locks"
            yield Violation(law, f"row {row_id} of {now.queue} {waited}")

    def _is_too_long(self, wait: Wait) -> bool:
        return wait.seconds > LONGEST_S and wait.passed > self._most_passed[wait.queue]


class Waits(threading.Thread):
    """A thread that checks due rows twice a second: of events, and of the domains' watched queues."""

    def __init__(self, stage: Stage, queues: Sequence[WatchedQueue]) -> None:
        super().__init__(name="waits", daemon=True)
        self._queues = (WatchedQueue(EVENTS_QUEUE, _applied, _MOST_EVENTS), *queues)
        self.found = Comparison({one.queue: one.most_passed for one in self._queues})
        self._stage = stage
        self._over = threading.Event()

    def run(self) -> None:
        """Check until `finish`."""
        while not self._over.wait(_LOOK_EVERY_S):
            with suppress(psycopg.Error, httpx.HTTPError), self._stage.overlook() as connection:
                self.found.note(self._look(connection))

    def finish(self) -> None:
        """Stop the thread."""
        self._over.set()
        self.join()

    def _look(self, connection: Connection) -> Look:
        rows = [row for one in self._queues for row in _due(connection, one)]
        done = {one.queue: one.done(connection) for one in self._queues}
        return Look({row.row_id: row.queue for row in rows}, done, time.monotonic())


def _applied(connection: Connection) -> int:
    (applied,) = connection.execute(_APPLIED).fetchone() or (0,)
    return int(applied)


def _due(connection: Connection, watched: WatchedQueue) -> list[_Row]:
    tenant = None if watched.tenant is None else str(watched.tenant)
    wanted = {"queue": watched.queue, "tenant": tenant, "most": _EACH}
    return connection.cursor(row_factory=class_row(_Row)).execute(_DUE, wanted).fetchall()
