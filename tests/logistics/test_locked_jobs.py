"""Locked jobs: a session that holds a job's row delays that job's results and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from app import database as doors
from app.context import Connection
from app.engine.batches import counters
from app.engine.inspect.explain import explain
from app.engine.inspect.invariants import audit
from app.engine.inspect.waiting import LockHeld
from app.engine.queue.publish import publish
from app.logistics.jobs import get_robot_job
from app.logistics.store import ROBOT_JOBS
from app.settings import settings, using
from app.wiring import INVARIANTS
from tests.conftest import Database
from tests.helpers import lines
from tests.helpers.support import drain, drain_all, scalar
from tests.logistics.answers import items_of, said, submitted, success
from tests.logistics.conftest import Shop

_SET_ASIDE = """
SELECT (args->>'attempt')::int, split_part(args->>'error', ':', 1), jsonb_array_length(args->'events')
  FROM engine.delayed WHERE queue_name = 'events'
"""


@pytest.fixture(autouse=True)
def hasty(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A patience for locks that a test can wait for."""
    monkeypatch.setenv("TALLYMAN_LOCK_PATIENCE", "0.2")
    settings.cache_clear()


@contextmanager
def locked(address: str, *job_ids: UUID) -> Iterator[Connection]:
    """Somebody else's session, which has locked jobs and does nothing."""
    with psycopg.connect(doors.conninfo(address)) as other:
        other.execute("SET application_name = 'somebody'")
        counters.lock(other, ROBOT_JOBS, sorted(job_ids))
        yield other


def begun(shop: Shop, count: int) -> UUID:
    """A job of so many items that wait for their results; its id."""
    job, _ = submitted(shop, count)
    drain(queues=["events"])
    return job.id


def answer(shop: Shop, job_id: UUID) -> None:
    """Publish a result for every item of a job, one by one."""
    for item in items_of(shop, job_id):
        publish(shop.connection, said(shop, success(item)))


def both(one: tuple[Shop, UUID], two: tuple[Shop, UUID]) -> None:
    """Publish the results of two jobs, the first one's first."""
    answer(*one)
    answer(*two)


def counted(shop: Shop, job_id: UUID) -> int:
    """How many results of a job have been counted."""
    return get_robot_job(shop.context, job_id).success_count


def test_a_locked_job_delays_nobody_else(database: Database, connection: Connection, shop: Shop, other: Shop) -> None:
    """The others' results are applied while the lock is held, its own together afterwards; none spends an attempt."""
    a, b = begun(shop, 40), begun(other, 40)
    both((shop, a), (other, b))
    with locked(database.url, a):
        drain(queues=["events"])
        assert (counted(shop, a), counted(other, b)) == (0, 40)
        rows = connection.execute(_SET_ASIDE).fetchall()
        assert {(attempt, error) for attempt, error, _ in rows} == {(0, "RowLocked")}
        assert (sum(size for *_, size in rows), len(rows) < 10) == (40, True)
        assert audit_holds(connection)
    drain_all(connection)
    assert counted(shop, a) == 40
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0
    assert audit_holds(connection)


def test_what_was_locked_is_looked_at_before_it_is_waited_for(
    database: Database, connection: Connection, shop: Shop, other: Shop
) -> None:
    """One delivery waits; the next ones find the row locked at once, take the others along, and notice its release."""
    a, b, more = begun(shop, 5), begun(other, 5), begun(other, 5)
    both((shop, a), (other, b))
    with lines.engine(database) as worker:
        with locked(database.url, a):
            lines.deliver_all(worker, connection)
            assert (counted(shop, a), counted(other, b)) == (0, 5)
            both((shop, a), (other, more))
            with using(lock_patience=600):
                lines.deliver_all(worker, connection)
            assert (counted(shop, a), counted(other, more)) == (0, 5)
        lines.make_due(connection)
        lines.deliver_all(worker, connection)
    assert counted(shop, a) == 5
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0


def test_a_lock_below_the_job_is_found_job_by_job(
    database: Database, connection: Connection, shop: Shop, other: Shop
) -> None:
    """An item or an order that somebody holds: its job's results wait, the others are applied."""
    a, b = begun(shop, 3), begun(other, 3)
    both((shop, a), (other, b))
    with psycopg.connect(doors.conninfo(database.url)) as holder:
        holder.execute("SELECT FROM logistics.robot_job_items WHERE job_id = %s FOR UPDATE", [a])
        drain(queues=["events"])
        assert (counted(shop, a), counted(other, b)) == (0, 3)
        rows = connection.execute(_SET_ASIDE).fetchall()
        assert ({attempt for attempt, *_ in rows}, sum(size for *_, size in rows)) == ({0}, 3)
    drain_all(connection)
    assert counted(shop, a) == 3


def test_a_locked_table_sets_everything_aside(database: Database, connection: Connection, shop: Shop) -> None:
    """A migration, say: nothing is lost, nothing spends an attempt."""
    a = begun(shop, 3)
    answer(shop, a)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("LOCK TABLE logistics.robot_jobs IN ACCESS EXCLUSIVE MODE")
        with lines.engine(database) as worker:
            lines.deliver(worker, connection)
        (holder,) = locks(connection, a)
        assert holder.pid == owner.info.backend_pid
    drain_all(connection)
    assert counted(shop, a) == 3


def test_explain_names_the_session(database: Database, connection: Connection, shop: Shop) -> None:
    """Process, login, program and, of the own login's sessions, state and since when; also where several share it."""
    a = begun(shop, 2)
    answer(shop, a)
    with locked(database.url, a) as holder:
        drain(queues=["events"])
        (found,) = locks(connection, a)
        assert (found.events, found.table, found.id) == (2, "logistics.robot_jobs", a)
        assert (found.pid, found.application, found.state) == (
            holder.info.backend_pid,
            "somebody",
            "idle in transaction",
        )
        assert found.since is not None
        assert str(holder.info.backend_pid) in found.sentence
    with psycopg.connect(database.owner_url) as one, psycopg.connect(doors.conninfo(database.url)) as two:
        for session in (one, two):
            session.execute("SELECT FROM logistics.robot_jobs WHERE id = %s FOR SHARE", [a])
        shared = {one_.pid: one_.login for one_ in locks(connection, a)}
        assert shared.keys() == {one.info.backend_pid, two.info.backend_pid}
        assert all(shared.values())
    (gone,) = locks(connection, a)
    assert gone.pid is None


def locks(connection: Connection, job_id: UUID) -> list[LockHeld]:
    """What `explain` says of locks that a job's events wait for."""
    with doors.as_service(connection):
        return [reason for reason in explain(connection, {"subject": str(job_id)}) if isinstance(reason, LockHeld)]


def audit_holds(connection: Connection) -> bool:
    """Whether every invariant holds."""
    return all(verdict.holds for verdict in audit(connection, INVARIANTS))
