"""Job fixtures: submitted jobs with their items, and a result for each item."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import sql

import events
from app.bench.temporary_database import TemporaryDatabase
from app.context import Connection
from app.errors import TallymanError
from app.tenancy import store as tenancy
from events import Event, new_id
from events.robot import ItemCompleted

_EMPTY = sql.SQL(
    "TRUNCATE logistics.robot_job_items, logistics.robot_jobs, logistics.orders, engine.event_log, engine.failed_jobs,"
    " engine.calls, engine.slots, engine.parked, engine.delayed, engine.rescues, engine.event_rescues, engine.rests,"
    " public.procrastinate_jobs RESTART IDENTITY CASCADE"
)
_AUTOVACUUM = sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = {})")
_TABLES = (
    ("logistics", "orders"),
    ("logistics", "robot_jobs"),
    ("logistics", "robot_job_items"),
    ("engine", "event_log"),
    ("public", "procrastinate_jobs"),
)
# Not COPY, which PostgreSQL refuses under row-level security.
_ORDERS = """
INSERT INTO logistics.orders (id, workspace_id, reference, recipient_name, address, city)
SELECT id, %s, n::text, 'Ana Pérez', 'Calle 1 # 2-3', 'Bogotá' FROM unnest(%s::uuid[]) WITH ORDINALITY AS o (id, n)
"""
_JOBS = """
INSERT INTO logistics.robot_jobs (id, workspace_id, status, total_items, started_at)
SELECT id, %s, 'processing', total, now() FROM unnest(%s::uuid[], %s::integer[]) AS j (id, total)
"""
_ITEMS = """
INSERT INTO logistics.robot_job_items (id, job_id, order_id, status, started_at)
SELECT id, job_id, order_id, 'processing', now() FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[])
       AS i (id, job_id, order_id)
"""
_COUNTS = """
SELECT (SELECT count(*) FROM logistics.robot_jobs
         WHERE success_count + error_count = total_items AND status IN ('completed', 'failed')),
       (SELECT sum(success_count + error_count) FROM logistics.robot_jobs),
       (SELECT count(*) FROM logistics.robot_job_items WHERE status IN ('success', 'error')),
       (SELECT count(*) FROM engine.event_log WHERE type = 'robot/item.completed'),
       (SELECT count(*) FROM engine.event_log WHERE type = 'order/updated'),
       (SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed'),
       (SELECT count(*) FROM engine.failed_jobs)
"""


class NotExact(TallymanError):
    """The end state of a benchmark is wrong, so its measurements are invalid."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item: ids of the item, its order and its job."""

    id: UUID
    order_id: UUID
    job_id: UUID


@dataclass(frozen=True, slots=True)
class JobFixtures:
    """Jobs of one workspace with `sizes` items. `said`: a result for every item, in random order."""

    workspace_id: UUID
    sizes: tuple[int, ...]
    items: Sequence[Item] = field(repr=False)
    said: Sequence[Event[ItemCompleted]] = field(repr=False)
    shipped: bool

    @property
    def total(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def enter(self, temp_database: TemporaryDatabase, *, statistics: str) -> None:
        """Replace the temporary database's rows by these jobs, in progress.

        `statistics`: `fresh`, or `stale` (those of empty tables, with auto-analyze off).
        """
        automatic = sql.SQL("false" if statistics == "stale" else "true")
        switch = (_AUTOVACUUM.format(sql.Identifier(*table), automatic) for table in _TABLES)
        temp_database.arrange(_EMPTY, *switch)
        temp_database.analyze()
        with temp_database.connect() as connection:
            self._insert(connection)
        if statistics == "fresh":
            temp_database.analyze()

    def check(self, connection: Connection) -> None:
        """Raise `NotExact` unless every result counts once and every job completed once."""
        row = connection.execute(_COUNTS).fetchone()
        jobs, shipped = len(self.sizes), self.total if self.shipped else 0
        expected = (jobs, self.total, self.total, self.total, shipped, jobs, 0)
        if row != expected:
            names = ("jobs done", "counted", "items done", "results", "orders updated", "jobs completed", "dead")
            wrong = [
                f"{name} {is_}, not {be}"
                for name, is_, be in zip(names, row or (), expected, strict=False)
                if is_ != be
            ]
            raise NotExact("; ".join(wrong))

    def _insert(self, connection: Connection) -> None:
        job_ids = list(dict.fromkeys(item.job_id for item in self.items))
        columns = zip(*((item.id, item.job_id, item.order_id) for item in self.items), strict=True)
        with connection.transaction():
            connection.execute(_ORDERS, [self.workspace_id, [item.order_id for item in self.items]])
            connection.execute(_JOBS, [self.workspace_id, job_ids, list(self.sizes)])
            connection.execute(_ITEMS, [list(column) for column in columns])


def job_fixtures(temp_database: TemporaryDatabase, sizes: Sequence[int], *, shipped: bool = False) -> JobFixtures:
    """Return jobs of these sizes. Results are failures, or tracking numbers if `shipped`.

    A failure changes item, counters and job. A tracking number also changes the order and publishes `order/updated`.
    """
    with temp_database.connect() as connection:
        workspace = tenancy.create_workspace(connection, f"bench {new_id()}")
    job_ids = [new_id() for _ in sizes]
    items = [Item(new_id(), new_id(), job_id) for job_id, size in zip(job_ids, sizes, strict=True) for _ in range(size)]
    said = [_said(workspace.id, number, item, shipped=shipped) for number, item in enumerate(items)]
    # Robots finish in another order than that of the requests. The order is the same in every round.
    random.Random(len(items)).shuffle(said)
    return JobFixtures(workspace.id, tuple(sizes), items, said, shipped)


def _said(workspace_id: UUID, number: int, item: Item, *, shipped: bool) -> Event[ItemCompleted]:
    outcome: dict[str, Any] = (
        {"status": "success", "tracking_number": f"T{number:09}", "validated_city": "BOGOTA (C/MARCA)"}
        if shipped
        else {"status": "error", "error_type": "portal", "error_message": "the portal refused the order"}
    )
    payload = ItemCompleted(job_id=item.job_id, item_id=item.id, attempt=0, **outcome)
    return events.new(payload, now=datetime.now(UTC), subject=item.job_id, tenant=workspace_id)
