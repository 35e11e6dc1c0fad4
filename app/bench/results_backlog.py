"""Results backlog: millions of waiting results of items, written by SQL on the server.

Contains jobs in progress with the same orders, an item for each order in each job, and a result for each item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg import sql

from app.bench.job_fixtures import NotExact
from app.bench.temporary_database import TemporaryDatabase
from app.context import Connection
from app.tenancy import store as tenancy
from events import new_id

JOBS = 20

_EMPTY = sql.SQL(
    "TRUNCATE logistics.robot_job_items, logistics.robot_jobs, logistics.orders, engine.event_log, engine.failed_jobs,"
    " public.procrastinate_jobs RESTART IDENTITY CASCADE"
)
_ORDERS: LiteralString = """
INSERT INTO logistics.orders (workspace_id, reference, recipient_name, address, city)
SELECT %(workspace)s, n::text, 'Ana Pérez', 'Calle 1 # 2-3', 'Bogotá' FROM generate_series(1, %(each)s) AS n
"""
_JOBS: LiteralString = """
INSERT INTO logistics.robot_jobs (workspace_id, status, total_items, started_at)
SELECT %(workspace)s, 'processing', %(each)s, now() FROM generate_series(1, %(jobs)s)
"""
_ITEMS: LiteralString = """
INSERT INTO logistics.robot_job_items (job_id, order_id, status, started_at)
SELECT j.id, o.id, 'processing', now() FROM logistics.robot_jobs j CROSS JOIN logistics.orders o
"""
_RESULTS: LiteralString = """
SELECT row_number() OVER (ORDER BY i.job_id, i.id) - 1 AS n, jsonb_build_object(
           'id', gen_random_uuid(), 'specversion', '1.0', 'source', 'tallyman/robot', 'type', 'robot/item.completed',
           'dataschema', 'robot/item.completed/1', 'subject', i.job_id, 'tenantid', %(workspace)s::uuid, 'time', now(),
           'data', jsonb_build_object('job_id', i.job_id, 'item_id', i.id, 'attempt', 0, 'status', 'error',
                                      'error_type', 'portal', 'error_message', 'the portal refused the order')) AS event
  FROM logistics.robot_job_items i
"""
_BATCHES: LiteralString = f"""
INSERT INTO public.procrastinate_jobs (queue_name, task_name, priority, args)
SELECT 'events', 'consume_parcel', 10, jsonb_build_object('attempt', 0, 'events', jsonb_agg(event))
  FROM ({_RESULTS}) AS r GROUP BY n / %(batch_size)s ORDER BY n / %(batch_size)s
"""
_PLAIN: LiteralString = f"""
INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)
SELECT 'plain', 'plain_item_completed', jsonb_build_object('event', event) FROM ({_RESULTS}) AS r ORDER BY n
"""
_COUNTS: LiteralString = """
SELECT (SELECT coalesce(sum(error_count), 0) FROM logistics.robot_jobs WHERE status = 'failed'),
       (SELECT count(*) FROM logistics.robot_job_items WHERE status = 'error'),
       (SELECT count(*) FROM engine.event_log WHERE type = 'robot/item.completed'),
       (SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed'),
       (SELECT count(*) FROM engine.failed_jobs)
"""
ALL_DONE: LiteralString = """
SELECT NOT EXISTS (SELECT FROM logistics.robot_jobs WHERE status IN ('pending', 'processing'))
"""


@dataclass(frozen=True, slots=True)
class ResultsBacklog:
    """`total` results of `JOBS` jobs in an otherwise empty temporary database."""

    temp_database: TemporaryDatabase
    workspace_id: UUID
    total: int

    def fill_batches(self, batch_size: int) -> None:
        """Write the results to the program's queue, in batches of `batch_size`."""
        self._fill(_BATCHES, batch_size)

    def fill_plain(self) -> None:
        """Write the results to the queue of plain Procrastinate."""
        self._fill(_PLAIN, 1)

    def check(self, connection: Connection) -> None:
        """Raise `NotExact` unless every result counts once and every job ended once."""
        row = connection.execute(_COUNTS).fetchone()
        expected = (self.total, self.total, self.total, JOBS, 0)
        if row != expected:
            raise NotExact(f"counted, items, results, jobs completed and dead letters are {row}, not {expected}")

    def _fill(self, results: LiteralString, batch_size: int) -> None:
        values = {"workspace": self.workspace_id, "each": self.total // JOBS, "jobs": JOBS, "batch_size": batch_size}
        self.temp_database.arrange(_EMPTY)
        with self.temp_database.connect() as connection:
            connection.execute("SET statement_timeout = 0")
            for statement in (_ORDERS, _JOBS, _ITEMS, results):
                connection.execute(statement, values)
        self.temp_database.arrange(sql.SQL("VACUUM ANALYZE"))


def results_backlog(temp_database: TemporaryDatabase, total: int) -> ResultsBacklog:
    """Return results of a new workspace, with `total` rounded up to a multiple of `JOBS`."""
    with temp_database.connect() as connection:
        workspace = tenancy.create_workspace(connection, f"bench {new_id()}")
    return ResultsBacklog(temp_database, workspace.id, -(-total // JOBS) * JOBS)
