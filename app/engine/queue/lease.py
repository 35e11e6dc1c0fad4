"""Lease: lock, acknowledge or shrink a queue row only while it belongs to this delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from psycopg.rows import class_row

from app.context import Connection
from app.engine.queue.envelope import QueuedEvent, Row, open_rows, write_rest


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery: one attempt of a worker at a queue row.

    The three fields are its lease; every delivery has another one.
    """

    row_id: int
    attempts: int
    worker_id: int | None


class LeaseLost(Exception):
    """The lease is lost: the row was finished, or rescued and fetched by another worker."""


_READ = "SELECT id AS row_id, args::text AS args FROM public.procrastinate_jobs WHERE id = %s"
_HOLD = """
SELECT 1 FROM public.procrastinate_jobs
 WHERE id = %(row_id)s AND status = 'doing' AND attempts = %(attempts)s
   AND worker_id IS NOT DISTINCT FROM %(worker_id)s
   FOR UPDATE
"""
_SHRINK = "UPDATE public.procrastinate_jobs SET args = %s::jsonb WHERE id = %s"
_TAKE_SIBLINGS = """
DELETE FROM public.procrastinate_jobs j
 USING (SELECT id FROM public.procrastinate_jobs
         WHERE id = ANY(%s) AND status = 'todo' AND attempts = 0 FOR UPDATE SKIP LOCKED) free
 WHERE j.id = free.id
RETURNING j.id
"""
# Workers listen for inserted rows, so a requeued row is announced as inserted.
_WAIT_AGAIN = """
WITH waits AS (
    UPDATE public.procrastinate_jobs SET status = 'todo', worker_id = NULL, abort_requested = false WHERE id = %s
    RETURNING id, queue_name)
SELECT pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', waits.id)::text)
  FROM waits, unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || waits.queue_name]) AS channel
"""
_REMOVE = "DELETE FROM public.procrastinate_jobs WHERE id = %s"


def lock_delivery(connection: Connection, delivery: Delivery) -> None:
    """Lock the delivery's row until the transaction ends. Raises `LeaseLost` if the lease is lost."""
    if connection.execute(_HOLD, asdict(delivery)).fetchone() is None:
        raise LeaseLost


def read(connection: Connection, delivery: Delivery) -> list[QueuedEvent]:
    """Return the events of a locked row."""
    return open_rows(connection.cursor(row_factory=class_row(Row)).execute(_READ, [delivery.row_id]).fetchall())


def acknowledge(connection: Connection, delivery: Delivery, remaining: Sequence[QueuedEvent]) -> None:
    """Acknowledge all events of the locked row except `remaining`. The row is removed if none remain."""
    shrink(connection, delivery.row_id, remaining)


def shrink(connection: Connection, row_id: int, remaining: Sequence[QueuedEvent]) -> None:
    """Keep only the `remaining` events in a locked row. The row is removed if none remain."""
    if remaining:
        connection.execute(_SHRINK, [write_rest(remaining), row_id])
    else:
        connection.execute(_REMOVE, [row_id])


def wait_again(connection: Connection, delivery: Delivery, queued_events: Sequence[QueuedEvent]) -> None:
    """Requeue the locked row with `queued_events` (at least one) under its own id, at its own position in the queue.

    Only for a worker that fetches no more rows. If the worker fetched this row again, both deliveries would have one
    lease.
    """
    shrink(connection, delivery.row_id, queued_events)
    connection.execute(_WAIT_AGAIN, [delivery.row_id])


def take_siblings(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[QueuedEvent]:
    """Delete the rows of `queued_events`, each a single waiting event, from the queue.

    Returns the events whose rows were deleted. Rows that other workers have fetched or locked are left out.
    """
    taken = {row_id for (row_id,) in connection.execute(_TAKE_SIBLINGS, [[queued.row_id for queued in queued_events]])}
    return [queued for queued in queued_events if queued.row_id in taken]
