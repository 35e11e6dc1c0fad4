"""Races: a second transaction begins before the first has committed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Barrier
from typing import TypeVar
from uuid import UUID

from app import database as doors
from app.context import Connection, Context
from app.engine.batches.store import select_items
from app.logistics.jobs import create_robot_job
from app.logistics.store import ROBOT_JOBS, RobotJobItem
from tests.conftest import Database
from tests.helpers.faults.stage import Hand, Stage
from tests.helpers.waits import LIMIT_S, SOMEBODY_WAITS, until

First = TypeVar("First")
Second = TypeVar("Second")


@dataclass(frozen=True, slots=True)
class Race:
    """A stage with connections for concurrent callers."""

    database: Database
    stage: Stage

    def context(self, connection: Connection) -> Context:
        """Return the shop's context on a connection of the race."""
        return Context.start(connection, self.stage.shop.workspace_id)

    def behind(
        self, first: Callable[[Connection], First], second: Callable[[Connection], Second]
    ) -> tuple[First, Second]:
        """Return both results. `first` commits when `second` waits for it, or has ended without waiting."""
        with ExitStack() as stack:
            one, two, observer, listener = (
                stack.enter_context(doors.connect(self.database.url, autocommit=True)) for _ in range(4)
            )
            threads = stack.enter_context(ThreadPoolExecutor(1))
            with one.transaction():
                before = first(one)
                after = threads.submit(second, two)
                until(listener, lambda: after.done() or observer.execute(SOMEBODY_WAITS).fetchone())
            return before, after.result(LIMIT_S)

    def together(self, runners: int, run: Callable[[Connection, int], First]) -> list[First]:
        """Return the results of `n` callers that start at the same moment, each on a connection of its own."""
        start = Barrier(runners)
        with ExitStack() as stack, ThreadPoolExecutor(runners) as threads:
            connections = [
                stack.enter_context(doors.connect(self.database.url, autocommit=True)) for _ in range(runners)
            ]

            def one(n: int) -> First:
                start.wait(LIMIT_S)
                return run(connections[n], n)

            return list(threads.map(one, range(runners)))


def submitted(stage: Stage, count: int) -> tuple[UUID, list[RobotJobItem]]:
    """Submit a job of `n` orders and publish its requests."""
    job = create_robot_job(stage.shop.context, stage.shop.order(count))
    deliver(stage, "events")
    return job.id, items(stage, job.id)


def items(stage: Stage, job: UUID) -> list[RobotJobItem]:
    """Return a job's items."""
    return select_items(stage.connection, ROBOT_JOBS, job, limit=100)


def deliver(stage: Stage, queue: str) -> None:
    """Deliver what is due in a queue until nothing is."""
    while hand := stage.take(queue):
        stage.deliver(hand)


def taken(stage: Stage, queue: str) -> Hand:
    """Return what a worker has taken."""
    hand = stage.take(queue)
    assert hand is not None
    return hand


def completions(stage: Stage, job: UUID) -> list[int]:
    """Deliver all events. Returns the generations that the job has completed."""
    deliver(stage, "events")
    rows = stage.connection.execute(
        "SELECT (data->>'generation')::integer FROM engine.event_log"
        " WHERE type = 'robot/job.completed' AND subject_id = %s ORDER BY 1",
        [job],
    )
    return [generation for (generation,) in rows]
