"""Ordering and crashes: no event is lost or applied twice, and the order holds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from app import database as doors
from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.domain import Policy
from app.engine.queue.publish import publish
from tests.conftest import Database
from tests.helpers.sequences import StepFaults, deliver, deliver_all, held, make_due, paths, replay, step, taken
from tests.helpers.support import scalar

MOST_STATEMENTS = 60
_RESCUE = """
UPDATE public.procrastinate_jobs SET status = 'todo', attempts = attempts + 1, worker_id = NULL WHERE status = 'doing'
"""


class Dying(psycopg.Cursor[Any]):
    """A cursor whose connection, like all others, breaks before the `left`-th statement."""

    left: ClassVar[int] = 0

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement, or break."""
        if Dying.left <= 0:
            self.connection.close()
            raise psycopg.OperationalError("the worker died")
        Dying.left -= 1
        return super().execute(*arguments, **options)


def dies(database: Database, connection: Connection, after: int) -> bool:
    """Deliver the next row with a worker that crashes after a number of statements. Returns whether it crashed."""

    def mortal(opened: Connection) -> None:
        opened.cursor_factory = Dying

    pool: ConnectionPool[Connection] = ConnectionPool(
        doors.conninfo(database.url), min_size=1, max_size=1, configure=mortal, open=True
    )
    Dying.left = after
    try:
        with suppress(psycopg.OperationalError):
            deliver(Engine(pool, Policy(most_attempts=3, base=100.0)), connection)
    finally:
        pool.close()
    connection.execute(_RESCUE)
    return Dying.left == 0


def behind_a_dead_one(connection: Connection, step_faults: StepFaults, worker: Engine, path: UUID) -> None:
    """Replay a dead event with two held events behind it."""
    step_faults.broken = {0}
    publish(connection, *[step(path, n) for n in range(3)])
    deliver_all(worker, connection)
    step_faults.broken.clear()
    replay(connection, scalar(connection, "SELECT event_id FROM engine.failed_jobs"))


def among_others(connection: Connection, step_faults: StepFaults, worker: Engine, path: UUID) -> None:
    """Put back one event in the middle of a batch."""
    step_faults.shaky = {1: 1}
    publish(connection, *[step(path, n) for n in range(4)])


def before_its_turn(connection: Connection, step_faults: StepFaults, worker: Engine, path: UUID) -> None:
    """Deliver an event whose predecessor is delayed."""
    publish(connection, step(path, 0), delay=60)
    publish(connection, step(path, 1))


@pytest.mark.parametrize("scenario", [behind_a_dead_one, among_others, before_its_turn])
def test_a_worker_may_crash_before_any_statement(
    database: Database,
    connection: Connection,
    step_faults: StepFaults,
    worker: Engine,
    scenario: Callable[[Connection, StepFaults, Engine, UUID], None],
) -> None:
    """After a rescue the state is that of a run without a crash."""
    for after in count():
        (path,) = paths(1)
        scenario(connection, step_faults, worker, path)
        died = dies(database, connection, after)
        for _ in range(6):
            deliver_all(worker, connection)
            make_due(connection)
        steps = taken(connection, path)
        assert steps == list(range(len(steps)))
        assert len(steps) == {"behind_a_dead_one": 3, "among_others": 4, "before_its_turn": 2}[scenario.__name__]
        assert held(connection) == scalar(connection, "SELECT count(*) FROM engine.sequence") == 0
        assert after < MOST_STATEMENTS
        if not died:
            return
        connection.execute("DELETE FROM engine.failed_jobs")
