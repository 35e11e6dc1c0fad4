"""A delivery's lease: its queue row is locked, acknowledged or shrunk only while it is still this delivery's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from psycopg.rows import class_row

from app.context import Connection
from app.engine.queue.envelope import QueuedEvent, Row, open_rows, write_rest


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt of a worker at a queue row. The three are its lease: another delivery of the row has others."""

    row_id: int
    attempts: int
    worker_id: int | None


class LeaseLost(Exception):
    """The row is no longer this delivery's: finished before, or rescued and given to another worker."""


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
# Workers listen for inserted rows; this one is as good as inserted.
_WAIT_AGAIN = """
WITH waits AS (
    UPDATE public.procrastinate_jobs SET status = 'todo', worker_id = NULL, abort_requested = false WHERE id = %s
    RETURNING id, queue_name)
SELECT pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', waits.id)::text)
  FROM waits, unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || waits.queue_name]) AS channel
"""
_REMOVE = "DELETE FROM public.procrastinate_jobs WHERE id = %s"


def lock_delivery(connection: Connection, delivery: Delivery) -> None:
    """Lock the delivery's row until the transaction ends. Raises `LeaseLost` when it is not this delivery's."""
    if connection.execute(_HOLD, asdict(delivery)).fetchone() is None:
        raise LeaseLost


def read(connection: Connection, delivery: Delivery) -> list[QueuedEvent]:
    """What a held row carries."""
    return open_rows(connection.cursor(row_factory=class_row(Row)).execute(_READ, [delivery.row_id]).fetchall())


def acknowledge(connection: Connection, delivery: Delivery, remaining: Sequence[QueuedEvent]) -> None:
    """Acknowledge all events of the locked row but `remaining`: the row is removed, or shrinks to those."""
    shrink(connection, delivery.row_id, remaining)


def shrink(connection: Connection, row_id: int, remaining: Sequence[QueuedEvent]) -> None:
    """Leave no more than `remaining` in a locked row; without any it is removed."""
    if remaining:
        connection.execute(_SHRINK, [write_rest(remaining), row_id])
    else:
        connection.execute(_REMOVE, [row_id])


def wait_again(connection: Connection, delivery: Delivery, queued_events: Sequence[QueuedEvent]) -> None:
    """Let the held row wait again with `queued_events`, at least one, under its own id: in its place in the queue.

    Only for a worker that takes no more rows: if it took this one again, both deliveries would have one lease.
    """
    shrink(connection, delivery.row_id, queued_events)
    connection.execute(_WAIT_AGAIN, [delivery.row_id])


def take_siblings(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[QueuedEvent]:
    """Take the rows of `queued_events`, each a single waiting event, out of the queue.

    Those that others took stay out.
    """
    taken = {row_id for (row_id,) in connection.execute(_TAKE_SIBLINGS, [[queued.row_id for queued in queued_events]])}
    return [queued for queued in queued_events if queued.row_id in taken]
