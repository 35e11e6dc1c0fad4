"""Worker processes: they finish a job, stop when asked, and lose nothing when they are killed."""

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
    """A slow portal without entries."""
    portal_server.start_over(Behaviour(latency_ms=100))
    return portal_server


@pytest.fixture
def workers(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerPool]:
    """Workers with short time limits for calls."""
    monkeypatch.setenv("TALLYMAN_PORTAL_TIMEOUT", "2")
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "0.5")
    with worker_pool(tmp_path) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Job:
    """A job in progress, with a connection that listens to it."""

    shop: Shop
    portal: Portal
    listener: Connection
    id: UUID

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until the condition is true."""
        until(self.listener, condition, limit=30)

    def done(self) -> int:
        """Return the number of items with a result."""
        job = get_robot_job(self.shop.context, self.id)
        return job.success_count + job.error_count

    def get_going(self) -> None:
        """Wait until some items have a result and many have none."""
        self.wait(lambda: self.done() >= ORDERS // 6)
        assert self.done() < ORDERS

    def finish(self) -> None:
        """Wait until no event waits. Then every invariant holds, and each order is at the portal once."""
        self.wait(lambda: self.done() == ORDERS and waiting(self.shop.connection) == 0)
        job = get_robot_job(self.shop.context, self.id)
        assert (job.status, job.success_count, job.error_count) == ("completed", ORDERS, 0)
        assert len(ledger(self.shop.connection, "robot/job.completed")) == 1
        assert (len(self.portal.record.entries), self.portal.record.duplicates) == (ORDERS, [])
        assert scalar(self.shop.connection, "SELECT count(*) FROM engine.calls") == 0
        assert broken(self.shop.connection) == []


@pytest.fixture
def job(database: Database, connection: Connection, workspace: Workspace, portal: Portal) -> Iterator[Job]:
    """A submitted job without a worker."""
    shop = equip(connection, workspace.id, portal)
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=6)
    submitted = create_robot_job(shop.context, shop.order(ORDERS))
    with doors.connect(database.url, autocommit=True) as listener:
        yield Job(shop, portal, listener, submitted.id)


def stops_cleanly(worker: Worker) -> None:
    """Send SIGTERM and assert exit status 0 within a few seconds."""
    assert worker.stop(A_FEW_SECONDS) == 0, worker.log.read_text()


# Procrastinate's own command line ----------------------------------------------------------------

TENANTS_OWN = ("Ana Pérez", "Ana P\\u00e9rez", "Calle 1", "10203", "demo-password", "specversion", "tracking_number")


def test_procrastinates_command_finds_the_program(job: Job, workers: WorkerPool) -> None:
    """`procrastinate --app=app.engine.queue.app worker` in a checkout, as in the README."""
    worker = workers.script()
    job.finish()
    stops_cleanly(worker)


def test_procrastinates_own_worker_finishes_a_job_and_stops(job: Job, workers: WorkerPool) -> None:
    """Events and effects. Its log has no content of rows."""
    worker = workers.plain()
    job.finish()
    stops_cleanly(worker)
    log = worker.log.read_text()
    assert log
    assert [words for words in TENANTS_OWN if words in log] == []
    assert str(job.id) not in log


def test_procrastinates_own_worker_stops_without_a_loss(job: Job, workers: WorkerPool) -> None:
    """Its deliveries are finished or wait again, and the next worker finishes them."""
    worker = workers.plain()
    job.get_going()
    stops_cleanly(worker)
    assert scalar(job.shop.connection, "SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'doing'") == 0
    workers.plain()
    job.finish()


def test_a_worker_serves_the_queues_that_it_is_given(job: Job, workers: WorkerPool) -> None:
    """One for events leaves the robots' queue alone, and the other way round."""
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


def test_a_worker_comes_back_when_the_database_does(database: Database, job: Job, workers: WorkerPool) -> None:
    """All connections are cut twice in the middle of the job: it goes on, and enters nothing twice."""
    worker = workers.work()
    for share in (6, 2):
        job.wait(lambda share=share: job.done() >= ORDERS // share)  # type: ignore[misc]
        assert cut(database, job) > 2
    job.finish()
    assert worker.process.poll() is None


def cut(database: Database, job: Job) -> int:
    """End all connections of workers and producers. Returns their number."""
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
    """No new connection is accepted, during a job or after it.

    The exit status is 0, or one that shows that it could not record the end of a delivery or reached its time limit.
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
    """Refuse new connections except of superusers. Open connections stay."""
    with psycopg.connect(make_conninfo(database.superuser_url, dbname="postgres"), autocommit=True) as connection:
        connection.execute("ALTER DATABASE tallyman_test CONNECTION LIMIT 0")
        try:
            yield
        finally:
            connection.execute("ALTER DATABASE tallyman_test CONNECTION LIMIT -1")


def read_until(log: Path, words: str) -> None:
    """Read a growing log until it contains the text."""
    end = time.monotonic() + LIMIT_S
    while words not in log.read_text():
        assert time.monotonic() < end, log.read_text()


def test_a_supervised_worker_that_is_told_to_stop_loses_nothing(job: Job, workers: WorkerPool) -> None:
    """It ends with status 0 in the middle of the job, and another worker finishes it."""
    worker = workers.work()
    job.get_going()
    stops_cleanly(worker)
    assert job.done() < ORDERS
    workers.work()
    job.finish()


def test_a_killed_workers_orders_are_entered_by_another_once(job: Job, workers: WorkerPool) -> None:
    """After SIGKILL during calls: calls in doubt are asked about first."""
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
    """The end of its session shows at once that it is gone, however old a heartbeat may be."""
    monkeypatch.setenv("TALLYMAN_STALLED_AFTER", "7200")
    worker = workers.work()
    job.get_going()
    worker.kill()
    workers.work()
    job.finish()


def test_an_unknown_queue_is_refused(workers: WorkerPool, job: Job) -> None:
    """Exit code 2, with the known ones."""
    worker = workers.work("-q", "robot")
    assert worker.process.wait(20) == 2
    assert "unknown robot; there are events, marketplaces, messages, robots, webhooks" in worker.log.read_text()
