"""Locked jobs: a session that locks a job's row delays only that job's results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from app import database as doors
from app.context import Connection
from app.engine.batches import counters
from app.engine.delivery.engine import Engine
from app.engine.effects.execute import perform
from app.engine.inspect.explain import explain
from app.engine.inspect.invariants import audit
from app.engine.inspect.waiting import LockHeld
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish
from app.logistics import effects
from app.logistics.jobs import get_robot_job
from app.logistics.store import ROBOT_JOBS, RobotJobItem
from app.program import INVARIANTS
from app.settings import settings, using
from app.simulators.portal import Portal
from tests.conftest import Database
from tests.helpers import sequences
from tests.helpers.robot_results import items_of, said, submitted, success
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar

_SET_ASIDE = """
SELECT (args->>'attempt')::int, split_part(args->>'error', ':', 1), jsonb_array_length(args->'events')
  FROM engine.delayed WHERE queue_name = %s
"""
_FETCH = """
SELECT id, attempts, worker_id FROM public.procrastinate_fetch_job_v2(ARRAY['robots'], NULL) WHERE id IS NOT NULL
"""


@pytest.fixture(autouse=True)
def hasty(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short lock time-out."""
    monkeypatch.setenv("TALLYMAN_LOCK_PATIENCE", "0.2")
    settings.cache_clear()


@contextmanager
def locked(address: str, *job_ids: UUID) -> Iterator[Connection]:
    """Lock jobs in another session."""
    with psycopg.connect(doors.conninfo(address)) as other:
        other.execute("SET application_name = 'somebody'")
        counters.lock(other, ROBOT_JOBS, sorted(job_ids))
        yield other


def begun(shop: Shop, count: int) -> UUID:
    """Submit a job whose items wait for results. Returns its id."""
    job, _ = submitted(shop, count)
    drain(queues=["events"])
    return job.id


def answer(shop: Shop, job_id: UUID) -> None:
    """Publish a result for every item of a job, one by one."""
    for item in items_of(shop, job_id):
        publish(shop.connection, said(shop, success(item)))


def both(one: tuple[Shop, UUID], two: tuple[Shop, UUID]) -> None:
    """Publish the results of two jobs."""
    answer(*one)
    answer(*two)


def counted(shop: Shop, job_id: UUID) -> int:
    """Return the number of counted results of a job."""
    return get_robot_job(shop.context, job_id).success_count


def test_a_locked_job_delays_no_other_job(database: Database, connection: Connection, shop: Shop, other: Shop) -> None:
    """The others' results are applied meanwhile, its own together afterwards. None spends an attempt."""
    a, b = begun(shop, 40), begun(other, 40)
    both((shop, a), (other, b))
    with locked(database.url, a):
        drain(queues=["events"])
        assert (counted(shop, a), counted(other, b)) == (0, 40)
        rows = connection.execute(_SET_ASIDE, ["events"]).fetchall()
        assert {(attempt, error) for attempt, error, _ in rows} == {(0, "RowLocked")}
        assert (sum(size for *_, size in rows), len(rows) < 10) == (40, True)
        assert audit_holds(connection)
    drain_all(connection)
    assert counted(shop, a) == 40
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0
    assert audit_holds(connection)


def test_a_known_lock_is_probed_before_it_is_waited_for(
    database: Database, connection: Connection, shop: Shop, other: Shop
) -> None:
    """One delivery waits. Later ones find the row locked at once, and notice its release."""
    a, b, more = begun(shop, 5), begun(other, 5), begun(other, 5)
    both((shop, a), (other, b))
    with sequences.engine(database) as worker:
        with locked(database.url, a):
            sequences.deliver_all(worker, connection)
            assert (counted(shop, a), counted(other, b)) == (0, 5)
            both((shop, a), (other, more))
            with using(lock_patience=600):
                sequences.deliver_all(worker, connection)
            assert (counted(shop, a), counted(other, more)) == (0, 5)
        sequences.make_due(connection)
        sequences.deliver_all(worker, connection)
    assert counted(shop, a) == 5
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0


BELOW = {
    "logistics.robot_job_items": "SELECT id FROM logistics.robot_job_items WHERE id = %s FOR UPDATE",
    "logistics.orders": """
        SELECT o.id FROM logistics.orders o JOIN logistics.robot_job_items i ON i.order_id = o.id
         WHERE i.id = %s FOR UPDATE OF o""",
}
"""Statements that lock a row below a job, by the row's table."""


@contextmanager
def locked_below(address: str, table: str, item: RobotJobItem) -> Iterator[tuple[int, UUID]]:
    """Lock a row of an item in another session. Yields the session's pid and the row's id."""
    with psycopg.connect(doors.conninfo(address)) as other:
        yield other.info.backend_pid, scalar(other, BELOW[table], item.id)


@pytest.mark.parametrize("table", BELOW)
def test_a_lock_below_the_job_delays_one_result(
    database: Database, connection: Connection, shop: Shop, other: Shop, table: str
) -> None:
    """Of an item or an order. Other results are counted, and `explain` names the session.

    One delivery at a time: while it waits it holds the job, and another that waited as long for the job would put its
    results off too.
    """
    a, b = begun(shop, 3), begun(other, 3)
    both((shop, a), (other, b))
    with locked_below(database.url, table, items_of(shop, a)[1]) as (pid, row):
        drain(queues=["events"], concurrency=1)
        assert (counted(shop, a), counted(other, b)) == (2, 3)
        assert connection.execute(_SET_ASIDE, ["events"]).fetchall() == [(0, "RowLocked", 1)]
        (found,) = locks(connection, a)
        assert (found.events, found.table, found.id, found.pid) == (1, table, row, pid)
    drain_all(connection)
    assert counted(shop, a) == 3
    assert audit_holds(connection)


def test_a_locked_item_delays_one_request(
    database: Database, connection: Connection, shop: Shop, other: Shop, portal: Portal
) -> None:
    """The others of its batch are entered. It spends no attempt, and `explain` names the session."""
    a, b = begun(shop, 3), begun(other, 2)
    with locked_below(database.url, "logistics.robot_job_items", items_of(shop, a)[1]) as (pid, row):
        drain(queues=["robots"])
        assert portal.record.summary().accepted == 4
        assert connection.execute(_SET_ASIDE, ["robots"]).fetchall() == [(0, "RowLocked", 1)]
        (found,) = locks(connection, a)
        assert (found.events, found.id, found.pid) == (1, row, pid)
    drain_all(connection)
    assert (counted(shop, a), counted(other, b)) == (3, 2)
    assert portal.record.duplicates == []
    assert audit_holds(connection)


def perform_all(worker: Engine, connection: Connection) -> None:
    """Deliver the due requests one row at a time."""

    async def whole() -> None:
        while (row := connection.execute(_FETCH).fetchone()) is not None:
            await perform(worker, Delivery(*row))
        await effects.close()

    asyncio.run(whole())


def test_a_request_whose_item_was_locked_is_not_waited_for_again(
    database: Database, connection: Connection, shop: Shop, portal: Portal
) -> None:
    """A later delivery of the process probes the lock first."""
    a, b = begun(shop, 2), begun(shop, 1)
    with sequences.engine(database) as worker:
        with locked_below(database.url, "logistics.robot_job_items", items_of(shop, a)[0]):
            perform_all(worker, connection)
            assert portal.record.summary().accepted == 2
            sequences.make_due(connection)
            with using(lock_patience=600):
                perform_all(worker, connection)
        sequences.make_due(connection)
        perform_all(worker, connection)
    drain_all(connection)
    assert (counted(shop, a), counted(shop, b)) == (2, 1)


def test_a_locked_table_sets_everything_aside(database: Database, connection: Connection, shop: Shop) -> None:
    """For example during a migration. Nothing is lost, and no attempt is spent."""
    a = begun(shop, 3)
    answer(shop, a)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("LOCK TABLE logistics.robot_jobs IN ACCESS EXCLUSIVE MODE")
        with sequences.engine(database) as worker:
            sequences.deliver(worker, connection)
        (holder,) = locks(connection, a)
        assert holder.pid == owner.info.backend_pid
    drain_all(connection)
    assert counted(shop, a) == 3


def test_explain_names_the_session(database: Database, connection: Connection, shop: Shop) -> None:
    """Pid, login and application; of the own login also state and start. Also with several holders."""
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
    """Return the locks that `explain` shows for a job."""
    with doors.as_service(connection):
        return [reason for reason in explain(connection, {"subject": str(job_id)}) if isinstance(reason, LockHeld)]


def audit_holds(connection: Connection) -> bool:
    """Return whether every invariant holds."""
    return all(verdict.holds for verdict in audit(connection, INVARIANTS))
