"""Backlog of each queue: waiting rows, age of the oldest, pauses, and live workers that serve it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import wiring
from app.engine.queue.pauses import Pause, pauses
from app.engine.queue.workers import Worker, list_workers, serving


@dataclass(frozen=True, slots=True)
class Backlog:
    """A queue's counts of rows. A row has one event or a batch of up to 500.

    `due`: can be fetched now. `later`: published with a delay, or put back. `parked`: waits for a slot of its
    concurrency limit. `in_hand`: is being delivered. `failed`: failed in the queue, outside the engine's code.
    `oldest`: time since the oldest due row became due, by the database's clock. `workers`: ids of live workers that
    serve the queue.
    """

    queue_name: str
    due: int = 0
    later: int = 0
    parked: int = 0
    in_hand: int = 0
    failed: int = 0
    oldest: timedelta | None = None
    pause: Pause | None = None
    workers: tuple[int, ...] = ()


# Rows have no time of creation. The row with the lowest id is the oldest; its time is in procrastinate_events.
_BACKLOG = """
WITH counted AS (
    SELECT j.queue_name,
           count(*) FILTER (WHERE j.status = 'todo' AND NOT coalesce(j.due_at > now(), false)) AS due,
           count(*) FILTER (WHERE j.status = 'todo' AND j.due_at > now() AND j.key IS NULL) AS later,
           count(*) FILTER (WHERE j.status = 'todo' AND j.due_at > now() AND j.key IS NOT NULL) AS parked,
           count(*) FILTER (WHERE j.status = 'doing') AS in_hand,
           count(*) FILTER (WHERE j.status = 'failed') AS failed,
           min(j.row_id) FILTER (WHERE j.status = 'todo' AND j.due_at IS NULL) AS first_id,
           min(j.due_at) FILTER (WHERE j.status = 'todo' AND j.due_at <= now()) AS first_at
      FROM engine.waiting(%s) j
     GROUP BY j.queue_name
)
SELECT c.queue_name, c.due, c.later, c.parked, c.in_hand, c.failed,
       now() - least(c.first_at, (SELECT min(e.at) FROM public.procrastinate_events e
                                   WHERE e.job_id = c.first_id AND e.type = 'deferred')) AS oldest
  FROM counted c
"""


def backlogs(connection: Connection) -> list[Backlog]:
    """Return the backlog of every queue of this program, by name: queues that it serves, has rows in, or has paused.

    Rows of other programs in the same database are not counted.
    """
    workers, paused = list_workers(connection), pauses(connection)
    rows = connection.cursor(row_factory=class_row(Backlog)).execute(_BACKLOG, [wiring().queues()]).fetchall()
    found = {row.queue_name: row for row in rows}
    names = sorted({*wiring().queues(), *found, *paused})
    return [_complete(found.get(name, Backlog(name)), paused.get(name), workers) for name in names]


def _complete(row: Backlog, pause: Pause | None, workers: Sequence[Worker]) -> Backlog:
    ids = tuple(worker.worker_id for worker in serving(workers, row.queue_name))
    return replace(row, pause=pause, workers=ids)
