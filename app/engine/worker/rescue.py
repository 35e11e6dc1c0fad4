"""Rescue deliveries of workers that crashed, hang, or could not record an end.

A worker is gone if its session has ended (`liveness`) or its heartbeat is too old.

One compare-and-set statement finds and frees the deliveries. Every worker runs it; an advisory lock admits one at
a time, and the others skip it. Rescues are counted by event, because a rescued event can move to another row. An event
that was rescued too often is buried, because it crashes its workers. The other events of its row are delivered again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog
from psycopg.rows import class_row

from app.context import Connection
from app.engine import metrics
from app.engine.delivery import bury
from app.engine.domain import wiring
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from app.engine.queue.lease import shrink
from app.errors import Permanent
from app.settings import Settings

log = structlog.get_logger(__name__)

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('engine.rescue', 0))"
# Every few seconds, rescue and sweep read the few rows in delivery or failed, among any number of waiting rows. Under
# row-level security the planner estimates them as many, and would scan the queue instead of the index. A process that
# freezes during a rescue blocks other rescues for at most ten seconds.
_BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL idle_in_transaction_session_timeout = '10s'"
_FREE = """
WITH ended AS MATERIALIZED (SELECT worker_id, by_restart FROM engine.gone_workers()
), stuck AS (
    SELECT j.id, j.queue_name, j.worker_id, j.attempts,
           CASE WHEN gone.is_gone THEN 'worker_gone' ELSE 'too_long' END AS reason,
           EXISTS (SELECT FROM ended e WHERE e.worker_id = j.worker_id AND e.by_restart) AS by_restart
      FROM public.procrastinate_jobs j,
           LATERAL (SELECT EXISTS (SELECT FROM ended e WHERE e.worker_id = j.worker_id)
                        OR NOT EXISTS (SELECT FROM public.procrastinate_workers w WHERE w.id = j.worker_id
                       AND w.last_heartbeat > now() - %(stalled_after)s * interval '1 second') AS is_gone) gone
     WHERE j.id = ANY (ARRAY(SELECT d.id FROM public.procrastinate_jobs d WHERE d.status = 'doing'))
       AND j.status = 'doing' AND engine.is_ours(j.task_name, j.queue_name, %(queues)s)
       AND (gone.is_gone
            OR greatest((SELECT max(e.at) FROM public.procrastinate_events e
                          WHERE e.job_id = j.id AND e.type = 'started'),
                        (SELECT max(c.begun_at) FROM engine.calls c WHERE c.row_id = j.id))
               < now() - %(longest_run)s * interval '1 second')
       FOR UPDATE OF j SKIP LOCKED
), noted AS (
    INSERT INTO engine.rescues (row_id, queue_name, worker_id, attempts, reason, by_restart)
    SELECT id, queue_name, worker_id, attempts, reason, by_restart FROM stuck
    RETURNING row_id
)
UPDATE public.procrastinate_jobs j
   SET status = 'todo', attempts = j.attempts + 1, scheduled_at = NULL, abort_requested = false, worker_id = NULL,
       queueing_lock = NULL -- another row with this lock may be waiting already
  FROM stuck
 WHERE j.id = stuck.id
RETURNING j.id AS row_id, j.task_name, j.args::text AS args, (NOT stuck.by_restart)::integer +
          (SELECT count(*) FROM engine.rescues r WHERE r.row_id = j.id AND NOT r.by_restart) AS rescues,
          stuck.by_restart
"""
# Workers listen for inserted rows, so freed rows are announced as inserted.
_WAKE = """
SELECT pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', freed.id)::text)
  FROM (SELECT queue_name, min(id) AS id FROM public.procrastinate_jobs
         WHERE id = ANY(%s) AND status = 'todo' AND scheduled_at IS NULL GROUP BY queue_name) freed,
       unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || freed.queue_name]) AS channel
"""
# `of_row` is for rows that were rescued before rescues were counted by event.
_COUNT = """
INSERT INTO engine.event_rescues AS c (event_id, rescues)
SELECT event_id, max(of_row) FROM unnest(%s::uuid[], %s::integer[]) AS rescued (event_id, of_row)
 GROUP BY event_id ORDER BY event_id
ON CONFLICT (event_id) DO UPDATE SET rescues = greatest(c.rescues + 1, excluded.rescues), last_at = clock_timestamp()
RETURNING event_id, rescues
"""
_APART = """
UPDATE public.procrastinate_jobs j SET scheduled_at = now() + waits.n * interval '1 second'
  FROM unnest(%s::bigint[]) WITH ORDINALITY AS waits (row_id, n)
 WHERE j.id = waits.row_id
"""
_FAILED = """
SELECT id AS row_id, task_name, args::text AS args, 0 AS rescues FROM public.procrastinate_jobs
 WHERE id = ANY (ARRAY(SELECT f.id FROM public.procrastinate_jobs f WHERE f.status = 'failed'))
   AND status = 'failed' AND task_name <> 'prune' AND engine.is_ours(task_name, queue_name, %(queues)s)
 ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED
"""
_BURY = "DELETE FROM public.procrastinate_jobs WHERE id = ANY(%s)"


class FailedInTheQueue(Permanent):
    """Procrastinate failed the row without running our code: it has no such task, or could not call it."""


class KilledItsWorkers(Permanent):
    """Every worker that had this delivery crashed or hung during it."""


@dataclass(frozen=True, slots=True)
class Rescued:
    """A freed delivery. `rescues`: the highest count among its events, this rescue included.

    `by_restart`: a restart or failover of the server ended its worker's session. Such a rescue is not counted.
    """

    row_id: int
    task_name: str
    args: str
    rescues: int
    by_restart: bool = False


def rescue(connection: Connection, settings: Settings) -> list[Rescued]:
    """Free the deliveries of dead and hanging workers in one transaction.

    Returns the freed deliveries; [] while another worker rescues.
    """
    limits: dict[str, Any] = {
        "stalled_after": settings.stalled_after,
        "longest_run": settings.longest_run,
        "queues": wiring().queues(),
    }
    with metrics.counted_on_commit(), connection.transaction():
        lock = connection.execute(_TRY_LOCK).fetchone()
        if lock is None or not lock[0]:
            return []
        connection.execute(_BY_INDEX)
        freed = connection.cursor(row_factory=class_row(Rescued)).execute(_FREE, limits).fetchall()
        counted = _count(connection, [row for row in freed if not row.by_restart], settings.most_rescues)
        freed = [row for row in freed if row.by_restart] + counted
        if freed:
            connection.execute(_WAKE, [[row.row_id for row in freed]])
            metrics.rescued(len(freed))
    for row in freed:
        log.warning("rescued", row=row.row_id, task=row.task_name, rescues=row.rescues)
    return freed


def _count(connection: Connection, freed: Sequence[Rescued], most: int) -> list[Rescued]:
    """Count a rescue for each event of the freed rows and bury events over the limit. Returns the rows with counts.

    Rows that were freed together may have crashed together because of only one of them. From the second rescue on they
    are delivered a second apart, so that further rescues count only for the row that crashes workers.
    """
    opened = [(row, open_rows([Row(row.row_id, row.args)])) for row in freed]
    counts = _counts(connection, opened)
    counted, apart = [], []
    for row, queued_events in opened:
        rescues = {id(queued): counts.get(queued.event_id, row.rescues) for queued in queued_events}
        rest = [queued for queued in queued_events if rescues[id(queued)] <= most]
        if len(rest) < len(queued_events):
            _bury(
                connection, row, [(queued, rescues[id(queued)]) for queued in queued_events if queued not in rest], rest
            )
        elif max(rescues.values(), default=0) > 1:
            apart.append(row.row_id)
        counted.append(replace(row, rescues=max(rescues.values(), default=row.rescues)))
    connection.execute(_APART, [apart[1:]])
    return counted


def _counts(connection: Connection, opened: Sequence[tuple[Rescued, Sequence[QueuedEvent]]]) -> dict[UUID | None, int]:
    counted = [
        (queued.event_id, row.rescues) for row, queued_events in opened for queued in queued_events if queued.event_id
    ]
    ids, of_rows = [event_id for event_id, _ in counted], [rescues for _, rescues in counted]
    return dict(connection.execute(_COUNT, [ids, of_rows]).fetchall())


def _bury(
    connection: Connection, row: Rescued, killers: Sequence[tuple[QueuedEvent, int]], rest: Sequence[QueuedEvent]
) -> None:
    """Bury events that crash their workers. The row keeps the `rest`, or is removed if there is none."""
    errors = [
        (queued, KilledItsWorkers(f"{rescues} workers died or hung while they had this event"))
        for queued, rescues in killers
    ]
    bury.bury(connection, errors)
    shrink(connection, row.row_id, rest)
    for queued, rescues in killers:
        log.warning("buried", event_id=str(queued.event_id), row=row.row_id, rescues=rescues)


def sweep(connection: Connection) -> int:
    """Bury the events of rows that Procrastinate failed without our code. Returns the number of rows, at most 500.

    Also resolves the dead letters of events that another delivery has applied.
    """
    with metrics.counted_on_commit(), connection.transaction():
        connection.execute(_BY_INDEX)
        bury.resolve_applied(connection)
        failed = (
            connection.cursor(row_factory=class_row(Rescued)).execute(_FAILED, {"queues": wiring().queues()}).fetchall()
        )
        for row in failed:
            error = FailedInTheQueue(f"the queue failed a row of task {row.task_name!r}, which this program cannot run")
            bury.bury(connection, [(queued, error) for queued in open_rows([Row(row.row_id, row.args)])])
        connection.execute(_BURY, [[row.row_id for row in failed]])
    return len(failed)
