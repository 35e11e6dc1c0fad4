"""Stopping: SIGTERM ends a worker within `TALLYMAN_GRACEFUL_TIMEOUT`, with a documented exit status."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

import events
from app import database as doors
from app.context import Connection, HandlerContext
from app.engine.queue.publish import publish
from app.engine.worker import stopping
from app.engine.worker.stopping import CUT_SHORT
from app.logistics.jobs import create_robot_job
from app.settings import using
from app.simulators.portal import Behaviour, Portal
from events import Event
from events.order import OrderUpdated
from tests.conftest import Database
from tests.helpers.children import default_signals
from tests.helpers.factories import Workspace
from tests.helpers.shops import equip
from tests.helpers.support import scalar
from tests.helpers.waits import LIMIT_S, until, until_somebody_waits
from tests.helpers.workers import Worker, WorkerPool, worker_pool

GRACEFUL_S = 4.0
AT_MOST_S = GRACEFUL_S + 6
"""The time limit, and the time in which a busy machine starts a thread."""
KINDS = ["work", "plain"]


@pytest.fixture
def workers(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerPool]:
    """Workers that must stop within four seconds, with a long time limit for calls of the portal."""
    monkeypatch.setenv("TALLYMAN_STALLED_AFTER", "20")
    monkeypatch.setenv("TALLYMAN_GRACEFUL_TIMEOUT", str(GRACEFUL_S))
    monkeypatch.setenv("TALLYMAN_PORTAL_TIMEOUT", "120")
    with worker_pool(tmp_path) as started:
        yield started


@pytest.fixture
def listener(database: Database) -> Iterator[Connection]:
    """A connection that only listens."""
    with doors.connect(database.url, autocommit=True) as opened:
        yield opened


def start(workers: WorkerPool, kind: str) -> Worker:
    """Start the supervised worker, or Procrastinate's own command."""
    return workers.work() if kind == "work" else workers.plain()


def registered(connection: Connection) -> int:
    """Return the number of registered workers."""
    return int(scalar(connection, "SELECT count(*) FROM engine.workers"))


def states(connection: Connection) -> list[tuple[str, int]]:
    """Return status and attempt number of each row with events, in the queue or delayed."""
    return connection.execute(
        "SELECT status, coalesce((args->>'attempt')::integer, 0) FROM engine.waiting() ORDER BY row_id"
    ).fetchall()


@contextmanager
def frozen(database: Database, connection: Connection) -> Iterator[None]:
    """Suspend the server processes of all other sessions, and the one that accepts connections."""
    others = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tallyman%%' AND pid <> ALL(%s)"
    postmaster = int(scalar(connection, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        own = [admin.info.backend_pid, connection.info.backend_pid]
        pids = [pid for (pid,) in admin.execute(others, [own])]
        for pid in [postmaster, *pids]:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in [*pids, postmaster]:
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_stops_while_its_server_is_frozen(
    database: Database, connection: Connection, listener: Connection, workers: WorkerPool, kind: str
) -> None:
    """It ends at its time limit. The exit status shows whether it was cut short."""
    worker = start(workers, kind)
    until(listener, lambda: registered(connection) > 0)
    with psycopg.connect(database.superuser_url, autocommit=True) as admin, frozen(database, admin):
        assert worker.stop(AT_MOST_S) in {0, CUT_SHORT}


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_stops_while_it_connects(workers: WorkerPool, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The host accepts connections and does not answer."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=60")
        worker = start(workers, kind)
        silent.settimeout(20)
        with closing(silent.accept()[0]):
            code = worker.stop(AT_MOST_S)
    # Procrastinate's command connects before it calls our code: the signal ends it as it ends any process.
    assert code in ({0, CUT_SHORT} if kind == "work" else {0, CUT_SHORT, -signal.SIGTERM})


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_stops_while_a_handler_waits_for_a_lock(
    database: Database, connection: Connection, listener: Connection, workers: WorkerPool, kind: str
) -> None:
    """The statement ends on the server too. Its transaction is rolled back; the event waits and spends no attempt."""
    event: Event[OrderUpdated] = events.new(
        OrderUpdated(order_id=uuid4(), before={}, after={}),
        now=HandlerContext.begin(connection).now,
        subject=None,
        tenant=None,
    )
    with doors.connect(database.url) as holder:
        holder.execute(
            "INSERT INTO engine.event_log (event_id, type, version, data, occurred_at)"
            " VALUES (%s, 'x', 1, '{}', now())",
            [event.id],
        )
        publish(connection, event)
        worker = start(workers, kind)
        until_somebody_waits(connection)
        assert worker.stop(AT_MOST_S) == 0, worker.log.read_text()
        until(listener, lambda: not connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())
        assert states(connection) == [("todo", 0)]
        assert scalar(connection, "SELECT count(*) FROM engine.rescues") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_stops_while_a_portal_does_not_answer(
    connection: Connection, listener: Connection, workspace: Workspace, portal: Portal, workers: WorkerPool, kind: str
) -> None:
    """Effects in progress are requeued, and the call in progress is in doubt."""
    portal.start_over(Behaviour(latency_ms=60_000))
    shop = equip(connection, workspace.id, portal)
    create_robot_job(shop.context, shop.order(1))
    worker = start(workers, kind)
    until(listener, lambda: scalar(connection, "SELECT count(*) FROM engine.calls") == 1)
    assert worker.stop(AT_MOST_S) == 0, worker.log.read_text()
    assert [state for state, _ in states(connection)] == ["todo"]
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 1


def test_the_default_fits_into_the_ten_seconds_of_docker_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves two seconds for the end of the process."""
    from app.settings import Settings  # noqa: PLC0415 - the defaults, not what the tests set

    monkeypatch.delenv("TALLYMAN_GRACEFUL_TIMEOUT", raising=False)
    assert Settings(_env_file=None).graceful_timeout <= 8  # type: ignore[call-arg]


@pytest.mark.parametrize(("limit", "reserved", "waits"), [(8.0, 1.0, 6.0), (2.0, 0.5, 1.0), (100.0, 1.0, 98.0)])
def test_the_last_two_steps_have_a_quarter_of_the_limit_each(limit: float, reserved: float, waits: float) -> None:
    """At most a second. The rest is for the deliveries in progress."""
    with using(graceful_timeout=limit, stalled_after=1000):
        assert (stopping.reserve(), stopping.patience()) == (reserved, waits)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the timers that a stop request starts; they do not fire."""
    started: list[float] = []
    monkeypatch.setattr(stopping, "_after", lambda seconds, _action: started.append(seconds))
    return started


async def test_the_first_signal_requests_the_stop(timers: list[float]) -> None:
    """A second one changes nothing. After the block it is ignored, while the process closes its connections."""
    told: list[str] = []
    with default_signals(signal.SIGTERM), using(graceful_timeout=8):
        with stopping.listening(lambda: told.append("stop")) as stop:
            assert not stop.is_told()
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.wait_for(stop.event.wait(), LIMIT_S)
        assert (stop.is_told(), told, timers) == (True, ["stop"], [7.0, 8.0])
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


async def test_without_a_stop_request_the_signals_are_as_before() -> None:
    """The block ends as it began."""
    with default_signals(signal.SIGTERM):
        with stopping.listening(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_work_runs_to_its_end_and_raises_its_error() -> None:
    """Without a stop request."""

    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stopping.Stop(lambda: None).run(fail())


async def test_a_stop_request_cancels_the_work(timers: list[float]) -> None:
    """An error of work that is cancelled is logged, not raised."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    stop = stopping.Stop(lambda: None)
    running = asyncio.create_task(stop.run(work()))
    await begun.wait()
    stop.tell()
    await asyncio.wait_for(running, LIMIT_S)


async def test_a_cancelled_wait_still_waits_to_the_end() -> None:
    """The cancellation is raised afterwards."""
    finish = asyncio.Event()

    async def work() -> None:
        await finish.wait()

    task = asyncio.create_task(work())
    waiting = asyncio.create_task(stopping.to_the_end({task}))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert task.done()
