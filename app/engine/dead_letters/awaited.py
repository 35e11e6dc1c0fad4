"""Awaited: what has come of letters that were replayed, and for how long a replay waits for the rest.

The outcome of a letter is looked up in the ledger and among the dead letters. A replay that waits without progress says
why nothing comes: no live worker serves a queue, or somebody has paused it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.context import Connection
from app.engine.domain import wiring
from app.engine.queue import pauses, workers

LOOK_EVERY_S = 0.2
_SAY_AFTER_S = 3.0
"""Seconds without progress before a replay says what it waits for."""


@dataclass(slots=True)
class Progress:
    """How far a replay is. `total` counts the letters that can be replayed; `stopped` says why it ended early.

    `timed_out`: it ended before every letter that it put into the queue had an outcome.
    """

    total: int = 0
    replayed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None
    timed_out: bool = False

    @property
    def waiting(self) -> int:
        """Letters that were replayed and have no outcome yet."""
        return self.replayed - self.outcomes.total()


_LOOK = """
UPDATE engine.replay_plan_letters p
   SET outcome = CASE WHEN EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = p.awaited_id) THEN 'applied'
                      ELSE 'dead' END
 WHERE p.plan_id = %s AND p.replayed_at IS NOT NULL AND p.outcome IS NULL
   AND (EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = p.awaited_id)
        OR EXISTS (SELECT FROM engine.failed_jobs f WHERE f.event_id = p.awaited_id AND f.failed_at > p.replayed_at))
"""
_COUNT = """
SELECT count(*), count(replayed_at), count(*) FILTER (WHERE outcome = 'applied'),
       count(*) FILTER (WHERE outcome = 'dead'), count(*) FILTER (WHERE outcome = 'skipped')
  FROM engine.replay_plan_letters WHERE plan_id = %s AND class = ANY(%s)
"""
_IN_THE_QUEUE = """
SELECT DISTINCT ON (p.letter_id) p.letter_id, p.plan_id
  FROM engine.replay_plan_letters p JOIN engine.failed_jobs f ON f.id = p.letter_id
 WHERE p.letter_id = ANY(%s) AND p.replayed_at > f.failed_at AND p.outcome IS NULL AND f.resolved_at IS NULL
 ORDER BY p.letter_id, p.replayed_at DESC
"""
_TYPES = """
SELECT DISTINCT f.job_type FROM engine.replay_plan_letters p JOIN engine.failed_jobs f ON f.id = p.letter_id
 WHERE p.plan_id = %s AND p.replayed_at IS NOT NULL AND p.outcome IS NULL
"""


def read_progress(connection: Connection, plan_id: UUID, classes: Iterable[str]) -> Progress:
    """Note the outcomes that have come, and count the letters of these classes."""
    with connection.transaction():
        connection.execute(_LOOK, [plan_id])
        return count(connection, plan_id, classes)


def count(connection: Connection, plan_id: UUID, classes: Iterable[str]) -> Progress:
    """Count the letters of these classes, by the outcomes that somebody has noted."""
    row = connection.execute(_COUNT, [plan_id, list(classes)]).fetchone()
    total, replayed, *outcomes = row or (0, 0, 0, 0, 0)
    counts = dict(zip(("applied", "dead", "skipped"), outcomes, strict=True))
    return Progress(total, replayed, Counter({name: count for name, count in counts.items() if count}))


def in_the_queue(connection: Connection, letter_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Those of these letters that a replay put into the queue, and that wait there; the plan of each."""
    return dict(connection.execute(_IN_THE_QUEUE, [list(letter_ids)]).fetchall())


def obstacles(connection: Connection, plan_id: UUID) -> list[str]:
    """Why nothing comes of the letters that were replayed: queues that no live worker serves, or that are paused."""
    with connection.transaction():
        served = wiring().served()
        types = [job_type for (job_type,) in connection.execute(_TYPES, [plan_id])]
        queues = sorted({served[job_type].queue for job_type in types if job_type in served})
        paused, known = pauses.pauses(connection), workers.list_workers(connection)
    found = []
    for queue in queues:
        if (pause := paused.get(queue)) is not None:
            found.append(f"queue {queue} is paused, by {pause.paused_by}: {pause.reason}")
        if not workers.serving(known, queue):
            found.append(f"no live worker serves the queue {queue}: start one with `work`")
    return found


@dataclass(slots=True)
class Patience:
    """How long a replay waits: `most` seconds after it last put letters into the queue; None: as long as it takes.

    `tell` is called with each obstacle once, after a few seconds without progress.
    """

    connection: Connection
    plan_id: UUID
    most: float | None
    tell: Callable[[str], None]
    _put_at: float = field(default_factory=time.monotonic)
    _moved_at: float = field(default_factory=time.monotonic)
    _seen: int = -1
    _told: set[str] = field(default_factory=set)

    def put(self) -> None:
        """Letters were put into the queue just now: the time to wait begins anew."""
        self._put_at = self._moved_at = time.monotonic()

    def rest(self, progress: Progress) -> bool:
        """Wait a moment for outcomes; False, at once, when the time to wait is over."""
        now = time.monotonic()
        if self.most is not None and now - self._put_at >= self.most:
            return False
        if progress.outcomes.total() != self._seen:
            self._seen, self._moved_at = progress.outcomes.total(), now
        elif now - self._moved_at >= _SAY_AFTER_S:
            self._moved_at = now
            self._tell_obstacles()
        time.sleep(LOOK_EVERY_S if self.most is None else min(LOOK_EVERY_S, self._put_at + self.most - now))
        return True

    def _tell_obstacles(self) -> None:
        for obstacle in obstacles(self.connection, self.plan_id):
            if obstacle not in self._told:
                self._told.add(obstacle)
                self.tell(obstacle)
