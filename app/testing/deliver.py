"""Deliver by hand: what is due, one row after the other, and nothing else happens."""

from __future__ import annotations

from contextlib import closing

from psycopg.rows import class_row

from app import database
from app.context import Connection
from app.engine import domain
from app.engine.domain import Policy
from app.engine.queue.delayed import promote
from app.settings import settings
from app.testing.worker import Fetched, Process, QueueClient

_ROW = """
SELECT id AS row_id, attempts, worker_id, queue_name, task_name, args::text AS args
  FROM public.procrastinate_jobs WHERE id = %s
"""


def deliver(connection: Connection, *, queues: list[str] | None = None, most: int = 500) -> int:
    """Deliver rows of `queues` (None: any) until none is due, each by a worker of its own; how many deliveries it took.

    No rescuer runs, so nothing is woken or freed but by deliveries themselves, and what waits for its time is not
    made due: a forgotten wake and a lost delay show, which `drain` and `drain_all` hide. Pauses are respected.
    `connection` is in autocommit mode. Raises `AssertionError` if rows are still due after `most` deliveries.
    """
    given = settings()
    policy = Policy(given.most_attempts, given.retry_base, given.retry_cap)
    with (
        closing(QueueClient()) as queue_client,
        database.pool(max_size=8) as pool,
        closing(Process(pool, policy)) as process,
    ):
        for count in range(most + 1):
            promote(connection)
            row_id = queue_client.fetch(queues)
            if row_id is None:
                return count
            fetched = connection.cursor(row_factory=class_row(Fetched)).execute(_ROW, [row_id]).fetchone()
            assert fetched is not None  # noqa: S101 - a row that is in hand stays
            queue_client.end(fetched, succeeded=process.deliver(fetched, domain.wiring()))
    raise AssertionError(f"rows are still due after {most} deliveries")
