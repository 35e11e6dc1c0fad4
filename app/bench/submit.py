"""`bench submit`: seconds to accept a job of very many orders, and to fan it out into requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import LiteralString
from uuid import UUID

from app.bench import plain_robots, rows, worker
from app.bench.conditions import conditions
from app.bench.job_fixtures import NotExact
from app.bench.plain_robots import PlainRobots
from app.bench.report import Report
from app.bench.rounds import Claim, Measured, alternate_all
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.bench.workspace import CARRIER, ShippingWorkspace, shipping_workspace
from app.context import Connection
from app.logistics.effects import ROBOTS_QUEUE
from app.logistics.jobs import create_robot_job
from events import new_id

ORDERS = 100_000
"""Orders of the job."""

OURS, PLAIN, LIMIT = "Tallyman", "plain Procrastinate", "limit, COPY of the same rows"
NOWHERE = "http://127.0.0.1:9"
"""URL of the workspace's portal, which is never called here."""

_JOB: LiteralString = """
INSERT INTO logistics.robot_jobs (id, workspace_id, status, total_items) VALUES (%s, %s, 'pending', %s)
"""
_COPY_ITEMS: LiteralString = "COPY logistics.robot_job_items (id, job_id, order_id) FROM STDIN"
_COUNTS: LiteralString = """
SELECT (SELECT count(*) FROM logistics.robot_job_items),
       (SELECT count(DISTINCT order_id) FROM logistics.robot_job_items),
       (SELECT sum(total_items) FROM logistics.robot_jobs)
"""
_REQUESTED: LiteralString = """
SELECT count(DISTINCT event #>> '{data,item_id}')
  FROM public.procrastinate_jobs, jsonb_array_elements(args -> 'events') AS event
 WHERE queue_name = 'robots' AND status = 'todo'
"""
_TABLES = (
    ("logistics", "robot_job_items"),
    ("logistics", "robot_jobs"),
    ("logistics", "orders"),
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A workspace with orders. Each contender returns the seconds of the submit and of the fan-out."""

    temp_database: TemporaryDatabase
    workspace: ShippingWorkspace
    count: int
    kept: list[bytes] = field(default_factory=list, repr=False)

    def ours(self) -> tuple[float, float]:
        """Measure the program: `create_robot_job`, then a worker of the events queue."""
        with self._orders() as (connection, order_ids):
            began = time.perf_counter()
            create_robot_job(self.workspace.context(connection), order_ids, carrier=CARRIER)
            accepted = time.perf_counter() - began
            self._check_items(connection)
            fanned_out = worker.drain()
            rows.check_waiting(self.temp_database, ROBOTS_QUEUE, self.count)
            self._check_requests(connection)
        return accepted, fanned_out

    def plain(self) -> tuple[float, float]:
        """Measure plain Procrastinate: insert items and a task, then that task defers one for each item."""
        plain = PlainRobots(self.temp_database)
        with self._orders() as (connection, order_ids):
            with plain.app.open():
                began = time.perf_counter()
                plain.submit(connection, self.workspace.workspace_id, order_ids)
                accepted = time.perf_counter() - began
            self._check_items(connection)
            fanned_out = PlainRobots(self.temp_database).fan_out()
            rows.check_waiting(self.temp_database, plain_robots.ROBOTS_QUEUE, self.count)
        return accepted, fanned_out

    def limit(self) -> tuple[float, float]:
        """Measure COPY of the item rows, and of the queue rows that the program wrote."""
        with self._orders() as (connection, order_ids):
            job_id = new_id()
            connection.execute(_JOB, [job_id, self.workspace.workspace_id, self.count])
            items = "".join(f"{new_id()}\t{job_id}\t{order_id}\n" for order_id in order_ids)
            accepted = rows.timed_copy(self.temp_database, _COPY_ITEMS, items.encode(), _TABLES)
            self._check_items(connection)
            fanned_out = rows.copy_in(self.temp_database, self.kept[0])
            rows.check_waiting(self.temp_database, ROBOTS_QUEUE, self.count)
        return accepted, fanned_out

    def keep(self) -> None:
        """Save the queue rows that the program writes, for COPY."""
        self.ours()
        self.kept[:] = [rows.keep(self.temp_database)]

    @contextmanager
    def _orders(self) -> Iterator[tuple[Connection, Sequence[UUID]]]:
        order_ids = self.workspace.start_over(self.count)
        with self.temp_database.connect() as connection:
            yield connection, order_ids

    def _check_items(self, connection: Connection) -> None:
        found = connection.execute(_COUNTS).fetchone()
        if found != (self.count, self.count, self.count):
            raise NotExact(f"items, their orders and the job's total are {found}, not {self.count} each")

    def _check_requests(self, connection: Connection) -> None:
        found = connection.execute(_REQUESTED).fetchone()
        if found != (self.count,):
            raise NotExact(f"{found} items are requested, not {self.count}")


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure all contenders with `scale` times the usual number of orders. Figures are seconds."""
    count = scaled(ORDERS, scale)
    with temporary_database() as made, shipping_workspace(made, NOWHERE) as at:
        with made.connect() as connection:
            where = conditions(connection)
        say(f"submit a job of {count:,} orders")
        stage = _Stage(made, at, count)
        stage.keep()
        contenders = {OURS: stage.ours, PLAIN: stage.plain, LIMIT: stage.limit}
        found = alternate_all([("accepted", "s"), ("fanned out", "s")], contenders, rounds)
    return Report(
        "submit", where, [one for both in zip(*found.values(), strict=True) for one in both], _claims(found), _NOTES
    )


_NOTES = (
    (
        "accepted: from the call of create_robot_job() to its commit: the request's fingerprint, the carrier, a check "
        "of every order's workspace, the items, robot/job.submitted; plain Procrastinate also inserts the items "
        "in one statement, and checks nothing"
    ),
    (
        "fanned out: a worker of the events queue, from its start until a request for each item waits; plain "
        "Procrastinate defers a task for each with batch_defer; ours has 25 requests a row"
    ),
    (
        "COPY: of prepared text, by the tables' owner without row-level security, because COPY does not write under "
        "policies; foreign keys are checked and triggers fire for all contenders"
    ),
)


def _claims(found: dict[str, list[Measured]]) -> list[Claim]:
    def ratio(other: str, number: int) -> float:
        return found[OURS][number].median / found[other][number].median

    return [
        Claim("accepted: time ÷ COPY", ratio(LIMIT, 0), most=3),
        Claim("accepted: time ÷ plain", ratio(PLAIN, 0)),
        Claim("fanned out: time ÷ COPY", ratio(LIMIT, 1)),
        Claim("fanned out: time ÷ plain", ratio(PLAIN, 1)),
    ]
