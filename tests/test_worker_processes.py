"""Workers as processes: they do a job from end to end, stop when told to, and lose nothing when they are not asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from app import database as doors
from app.context import Connection
from app.engine.queue.job_manager import CANNOT_RECORD
from app.engine.worker.stopping import CUT_SHORT
from app.logistics import carriers
from app.logistics.jobs import create_robot_job, get_robot_job
from app.simulators.portal import Behaviour, Portal, serve
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.robot_results import broken, ledger
from tests.helpers.shops import Shop, equip
from tests.helpers.support import scalar, waiting
from tests.helpers.waits import LIMIT_S, until
from tests.helpers.workers import Worker, WorkerPool, worker_pool

ORDERS = 60
A_FEW_SECONDS = 6.0
SOON_S = 15.0
"""For a worker that has to give up on its database first."""


@pytest.fixture(scope="module")
def portal_server() -> Iterator[Portal]:
    """One portal for the module."""
    with serve() as running:
        yield running


@pytest.fixture
def portal(portal_server: Portal) -> Portal:
    """A portal with empty books that takes its time, so that there is a middle to be disturbed in."""
    portal_server.start_over(Behaviour(latency_ms=100))
    return portal_server


@pytest.fixture
def workers(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerPool]:
    """Workers whose portal answers soon or not at all."""
    monkeypatch.setenv("TALLYMAN_PORTAL_TIMEOUT", "2")
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "0.5")
    with worker_pool(tmp_path) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Job:
    """A job under way, with somebody who listens to it."""

    shop: Shop
    portal: Portal
    listener: Connection
    id: UUID

    def wait(self, condition: Callable[[], object]) -> None:
        """Until the condition is true."""
        until(self.listener, condition, limit=30)

    def done(self) -> int:
        """How many items have a result."""
        job = get_robot_job(self.shop.context, self.id)
        return job.success_count + job.error_count

    def get_going(self) -> None:
        """Until the job is in the middle: some items have a result, and many have none."""
        self.wait(lambda: self.done() >= ORDERS // 6)
        assert self.done() < ORDERS

    def finish(self) -> None:
        """Until nothing waits; then every promise must hold, and each order be at the portal once."""
        self.wait(lambda: self.done() == ORDERS and waiting(self.shop.connection) == 0)
        job = get_robot_job(self.shop.context, self.id)
        assert (job.status, job.success_count, job.error_count) == ("completed", ORDERS, 0)
        assert len(ledger(self.shop.connection, "robot/job.completed")) == 1
        assert (len(self.portal.record.entries), self.portal.record.duplicates) == (ORDERS, [])
        assert scalar(self.shop.connection, "SELECT count(*) FROM engine.calls") == 0
        assert broken(self.shop.connection) == []


@pytest.fixture
def job(database: Database, connection: Connection, workspace: Workspace, portal: Portal) -> Iterator[Job]:
    """A job that was submitted, and nobody to work on it yet."""
    shop = equip(connection, workspace.id, portal)
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=6)
    submitted = create_robot_job(shop.context, shop.order(ORDERS))
    with doors.connect(database.url, autocommit=True) as listener:
        yield Job(shop, portal, listener, submitted.id)


def stops_cleanly(worker: Worker) -> None:
    """On SIGTERM it ends with success, within a few seconds."""
    assert worker.stop(A_FEW_SECONDS) == 0, worker.log.read_text()


# Procrastinate's own command line ----------------------------------------------------------------

TENANTS_OWN = ("Ana Pérez", "Ana P\\u00e9rez", "Calle 1", "10203", "demo-password", "specversion", "tracking_number")


def test_procrastinates_command_finds_the_program(job: Job, workers: WorkerPool) -> None:
    """`procrastinate --app=app.engine.queue.app worker` in a checkout, as the README says."""
    worker = workers.script()
    job.finish()
    stops_cleanly(worker)


def test_procrastinates_own_worker_does_everything_and_stops_when_told_to(job: Job, workers: WorkerPool) -> None:
    """Events and effects alike; and its log, which is also Procrastinate's, holds nothing of what the rows hold."""
    worker = workers.plain()
    job.finish()
    stops_cleanly(worker)
    log = worker.log.read_text()
    assert log
    assert [words for words in TENANTS_OWN if words in log] == []
    assert str(job.id) not in log


def test_a_worker_that_is_told_to_stop_in_the_middle_stops_and_loses_nothing(job: Job, workers: WorkerPool) -> None:
    """Procrastinate's own: what it had in hand is done or waits again, and the next one finishes."""
    worker = workers.plain()
    job.get_going()
    stops_cleanly(worker)
    assert scalar(job.shop.connection, "SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'doing'") == 0
    workers.plain()
    job.finish()


def test_a_worker_serves_the_queues_that_it_is_given(job: Job, workers: WorkerPool) -> None:
    """One for events leaves the robots' orders alone, one for robots leaves the results; together they are done."""
    connection = job.shop.connection
    in_queue = "SELECT count(*) FROM public.procrastinate_jobs WHERE queue_name = %s AND status = 'todo'"
    events_worker = workers.plain("-q", "events")
    job.wait(lambda: scalar(connection, in_queue, "robots") and not scalar(connection, in_queue, "events"))
    assert job.portal.record.summary().logins == 0
    stops_cleanly(events_worker)
    assert (job.done(), job.portal.record.entries) == (0, [])
    robot = workers.plain("-q", "robots")
    job.wait(lambda: len(job.portal.record.entries) == ORDERS and not scalar(connection, in_queue, "robots"))
    stops_cleanly(robot)
    assert job.done() == 0
    workers.plain("--queues=events")
    job.finish()


# The supervised worker ---------------------------------------------------------------------------


def test_a_worker_comes_back_when_the_database_does(database: Database, job: Job, workers: WorkerPool) -> None:
    """All of its connections are cut in the middle of the job, twice: it goes on, and enters nothing twice."""
    worker = workers.work()
    for share in (6, 2):
        job.wait(lambda share=share: job.done() >= ORDERS // share)  # type: ignore[misc]
        assert cut(database, job) > 2
    job.finish()
    assert worker.process.poll() is None


def cut(database: Database, job: Job) -> int:
    """End every connection of a worker or a producer but the test's own; how many those were."""
    own = [job.listener.info.backend_pid, job.shop.connection.info.backend_pid]
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        return len(
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> ALL(%s)"
                " AND usename = 'tallyman'",
                [database.name, own],
            ).fetchall()
        )


@pytest.mark.parametrize("busy", [True, False])
def test_a_worker_whose_database_is_gone_stops_when_told_to(
    database: Database, job: Job, workers: WorkerPool, *, busy: bool
) -> None:
    """Nobody is let in any more, in the middle of a job or after it: told to stop, it does, and leaves the rest.

    With success, or with an exit code that says that it could not record how a delivery ended, or reached its limit.
    """
    worker = workers.work()
    job.get_going() if busy else job.finish()
    with shut(database):
        cut(database, job)
        read_until(worker.log, "too many connections")
        assert worker.stop(SOON_S) in ({0, CANNOT_RECORD, CUT_SHORT} if busy else {0, CUT_SHORT})
    workers.work()
    job.finish()


@contextmanager
def shut(database: Database) -> Iterator[None]:
    """A database that lets nobody in but superusers; who is inside stays."""
    with psycopg.connect(make_conninfo(database.superuser_url, dbname="postgres"), autocommit=True) as connection:
        connection.execute("ALTER DATABASE tallyman_test CONNECTION LIMIT 0")
        try:
            yield
        finally:
            connection.execute("ALTER DATABASE tallyman_test CONNECTION LIMIT -1")


def read_until(log: Path, words: str) -> None:
    """Read a log that is being written until it has these words."""
    end = time.monotonic() + LIMIT_S
    while words not in log.read_text():
        assert time.monotonic() < end, log.read_text()


def test_a_supervised_worker_that_is_told_to_stop_loses_nothing(job: Job, workers: WorkerPool) -> None:
    """It ends with success in the middle of the job, and another one finishes it."""
    worker = workers.work()
    job.get_going()
    stops_cleanly(worker)
    assert job.done() < ORDERS
    workers.work()
    job.finish()


def test_a_killed_workers_orders_are_entered_by_another_once(job: Job, workers: WorkerPool) -> None:
    """SIGKILL in the middle of its calls: what was in the air is asked about before anything is entered."""
    worker = workers.work()
    job.get_going()
    worker.kill()
    assert job.done() < ORDERS
    workers.work()
    job.finish()
    assert scalar(job.shop.connection, "SELECT count(*) FROM engine.rescues") > 0


def test_a_killed_workers_orders_wait_for_no_heartbeat(
    job: Job, workers: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of its session shows at once that it is gone: another goes on, though a heartbeat may be hours old."""
    monkeypatch.setenv("TALLYMAN_STALLED_AFTER", "7200")
    worker = workers.work()
    job.get_going()
    worker.kill()
    workers.work()
    job.finish()


def test_a_queue_that_nothing_is_put_into_is_refused(workers: WorkerPool, job: Job) -> None:
    """A misspelt queue is no worker that waits for ever: exit code 2, with those there are."""
    worker = workers.work("-q", "robot")
    assert worker.process.wait(20) == 2
    assert "unknown robot; there are events, robots" in worker.log.read_text()
