"""Deliver due rows one by one, without a rescuer or other background work."""

from __future__ import annotations

from contextlib import closing

from psycopg.rows import class_row

from app import database
from app.context import Connection
from app.engine import domain
from app.engine.domain import Policy
from app.engine.queue.delayed import promote
from app.settings import settings
from app.testing.queue_client import QueueClient
from app.testing.worker import Fetched, Process

_ROW = """
SELECT id AS row_id, attempts, worker_id, queue_name, task_name, args::text AS args
  FROM public.procrastinate_jobs WHERE id = %s
"""


def deliver(connection: Connection, *, queues: list[str] | None = None, most: int = 500) -> int:
    """Deliver rows of `queues` (None: all) until none is due. Returns the number of deliveries.

    Each delivery has a separate worker. No rescuer runs and delayed rows are not made due, so only deliveries wake or
    free rows. Missing wake-ups and lost delays become visible; `drain` and `drain_all` hide them. Paused queues are
    skipped. `connection`: in autocommit mode. Raises `AssertionError` if rows are still due after `most` deliveries.
    """
    given = settings()
    policy = Policy(given.most_attempts, given.retry_base, given.retry_cap)
    queue_client = QueueClient(connection)
    with database.pool(max_size=8) as pool, closing(Process(pool, policy)) as process:
        for count in range(most + 1):
            promote(connection)
            row_id = queue_client.fetch(queues)
            if row_id is None:
                return count
            fetched = connection.cursor(row_factory=class_row(Fetched)).execute(_ROW, [row_id]).fetchone()
            assert fetched is not None  # noqa: S101 - a row in delivery is not removed
            queue_client.end(fetched, succeeded=process.deliver(fetched, domain.wiring()))
    raise AssertionError(f"rows are still due after {most} deliveries")
