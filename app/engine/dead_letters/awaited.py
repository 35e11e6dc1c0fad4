"""Read the outcomes of replayed letters, and wait for the missing ones.

Outcomes come from the ledger and the dead letters. A replay without progress reports the obstacles: a paused queue, or
a queue that no live worker serves.
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
"""Seconds without progress before a replay reports obstacles."""


@dataclass(slots=True)
class Progress:
    """Progress of a replay, in letters. `total`: letters that can be replayed. `outcomes`: counts by outcome.

    `stopped`: why the replay ended early; None if it did not. `timed_out`: the replay ended before every replayed
    letter had an outcome.
    """

    total: int = 0
    replayed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None
    timed_out: bool = False

    @property
    def waiting(self) -> int:
        """The number of letters that were replayed and have no outcome yet."""
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
    """Store new outcomes of a plan's letters, and count the letters of these classes."""
    with connection.transaction():
        connection.execute(_LOOK, [plan_id])
        return count(connection, plan_id, classes)


def count(connection: Connection, plan_id: UUID, classes: Iterable[str]) -> Progress:
    """Count the letters of these classes by their stored outcomes."""
    row = connection.execute(_COUNT, [plan_id, list(classes)]).fetchone()
    total, replayed, *outcomes = row or (0, 0, 0, 0, 0)
    counts = dict(zip(("applied", "dead", "skipped"), outcomes, strict=True))
    return Progress(total, replayed, Counter({name: count for name, count in counts.items() if count}))


def in_the_queue(connection: Connection, letter_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return the letters that a replay published and that have no outcome yet: the plan's id, by the letter's id."""
    return dict(connection.execute(_IN_THE_QUEUE, [list(letter_ids)]).fetchall())


def obstacles(connection: Connection, plan_id: UUID) -> list[str]:
    """Return a message for each queue with replayed letters that is paused or that no live worker serves."""
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
    """The time limit of a replay's wait: `most` seconds after letters were last published; None: no limit.

    `tell` is called once with each obstacle, after 3 seconds without progress.
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
        """Restart the time to wait, because letters were just published."""
        self._put_at = self._moved_at = time.monotonic()

    def rest(self, progress: Progress) -> bool:
        """Sleep for up to 0.2 seconds. Returns False without sleeping if the time to wait is over."""
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
