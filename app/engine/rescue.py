"""Rescue: deliveries of workers that died, or hung, or could not say how it ended.

One compare-and-set statement finds and frees them, run by every worker under an advisory lock that one of them gets.
A delivery that was rescued too often is buried with all that it holds: its events kill their workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from psycopg.rows import class_row

from app.context import Connection
from app.engine import dead_letters
from app.engine.delivery import Row, open_rows
from app.errors import Permanent
from app.settings import Settings

log = structlog.get_logger(__name__)

_TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended('engine.rescue', 0))"
_FREE = """
WITH stuck AS (
    SELECT j.id, j.queue_name, j.worker_id, j.attempts, gone.is_gone
      FROM public.procrastinate_jobs j,
           LATERAL (SELECT NOT EXISTS (SELECT FROM public.procrastinate_workers w WHERE w.id = j.worker_id
                       AND w.last_heartbeat > now() - %(stalled_after)s * interval '1 second') AS is_gone) gone
     WHERE j.status = 'doing'
       AND (gone.is_gone
            OR (SELECT max(e.at) FROM public.procrastinate_events e WHERE e.job_id = j.id AND e.type = 'started')
               < now() - %(longest_run)s * interval '1 second')
       FOR UPDATE OF j SKIP LOCKED
), noted AS (
    INSERT INTO engine.rescues (row_id, queue_name, worker_id, attempts, reason)
    SELECT id, queue_name, worker_id, attempts, CASE WHEN is_gone THEN 'worker_gone' ELSE 'too_long' END FROM stuck
    RETURNING row_id
)
UPDATE public.procrastinate_jobs j
   SET status = 'todo', attempts = j.attempts + 1, scheduled_at = NULL, abort_requested = false, worker_id = NULL
  FROM stuck
 WHERE j.id = stuck.id
RETURNING j.id AS row_id, j.task_name, j.args::text AS args, 1 +
          (SELECT count(*) FROM engine.rescues r WHERE r.row_id = j.id) AS rescues
"""
_BURY = "DELETE FROM public.procrastinate_jobs WHERE id = ANY(%s)"


class KilledItsWorkers(Permanent):
    """Every worker that took this delivery died or hung while it had it."""


@dataclass(frozen=True, slots=True)
class Rescued:
    """A delivery that was freed; `rescues` counts this time too."""

    row_id: int
    task_name: str
    args: str
    rescues: int


def rescue(connection: Connection, settings: Settings) -> list[Rescued]:
    """Free the deliveries of dead and hanging workers in one transaction; returns them (none in another's turn)."""
    limits: dict[str, Any] = {"stalled_after": settings.stalled_after, "longest_run": settings.longest_run}
    with connection.transaction():
        turn = connection.execute(_TURN).fetchone()
        if turn is None or not turn[0]:
            return []
        freed = connection.cursor(row_factory=class_row(Rescued)).execute(_FREE, limits).fetchall()
        hopeless = [row for row in freed if row.rescues > settings.most_rescues]
        for row in hopeless:
            error = KilledItsWorkers(f"{row.rescues} workers died or hung with this delivery")
            dead_letters.bury(connection, [(letter, error) for letter in open_rows([Row(row.row_id, row.args)])])
        connection.execute(_BURY, [[row.row_id for row in hopeless]])
    for row in freed:
        log.warning("rescued", row=row.row_id, task=row.task_name, rescues=row.rescues, buried=row in hopeless)
    return freed
