"""Stopping: SIGTERM ends a worker within `TALLYMAN_GRACEFUL_TIMEOUT`, whatever it waits for, with a documented code."""

from __future__ import annotations

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
from app.engine.worker.stopping import CUT_SHORT
from app.logistics.jobs import create_robot_job
from app.simulators.portal import Behaviour, Portal
from events import Event
from events.order import OrderUpdated
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.shops import equip
from tests.helpers.support import scalar
from tests.helpers.waits import until, until_somebody_waits
from tests.helpers.workers import Worker, WorkerPool, worker_pool

GRACEFUL_S = 4.0
AT_MOST_S = GRACEFUL_S + 6
"""With what a busy machine takes for the start of a thread. Before there was a limit it took 20 s to for ever."""
KINDS = ["work", "plain"]


@pytest.fixture
def workers(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerPool]:
    """Workers that must stop within four seconds, and whose portal may take its time."""
    monkeypatch.setenv("TALLYMAN_STALLED_AFTER", "20")
    monkeypatch.setenv("TALLYMAN_GRACEFUL_TIMEOUT", str(GRACEFUL_S))
    monkeypatch.setenv("TALLYMAN_PORTAL_TIMEOUT", "120")
    with worker_pool(tmp_path) as started:
        yield started


@pytest.fixture
def listener(database: Database) -> Iterator[Connection]:
    """A connection that does nothing but listen."""
    with doors.connect(database.url, autocommit=True) as opened:
        yield opened


def start(workers: WorkerPool, kind: str) -> Worker:
    """The supervised worker, or Procrastinate's own."""
    return workers.work() if kind == "work" else workers.plain()


def registered(connection: Connection) -> int:
    """How many workers are."""
    return int(scalar(connection, "SELECT count(*) FROM engine.workers"))


def states(connection: Connection) -> list[tuple[str, int]]:
    """Of each row that holds events, in the queue or delayed, its status and attempt number."""
    return connection.execute(
        "SELECT status, coalesce((args->>'attempt')::integer, 0) FROM engine.waiting() ORDER BY row_id"
    ).fetchall()


@contextmanager
def frozen(database: Database, connection: Connection) -> Iterator[None]:
    """The server answers nobody but this test, and lets nobody in."""
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
    """Nothing can be said or asked: it ends at its limit, and says so by its exit code."""
    worker = start(workers, kind)
    until(listener, lambda: registered(connection) > 0)
    with psycopg.connect(database.superuser_url, autocommit=True) as admin, frozen(database, admin):
        assert worker.stop(AT_MOST_S) in {0, CUT_SHORT}


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_stops_while_it_connects(workers: WorkerPool, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The host accepts connections and says nothing."""
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
    """The statement ends on the server too, what it did is rolled back, and its event waits, no attempt spent."""
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
    """Effects under way are handed back: they wait, and the call in the air is in doubt."""
    portal.start_over(Behaviour(latency_ms=60_000))
    shop = equip(connection, workspace.id, portal)
    create_robot_job(shop.context, shop.order(1))
    worker = start(workers, kind)
    until(listener, lambda: scalar(connection, "SELECT count(*) FROM engine.calls") == 1)
    assert worker.stop(AT_MOST_S) == 0, worker.log.read_text()
    assert [state for state, _ in states(connection)] == ["todo"]
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 1


def test_the_default_fits_into_the_ten_seconds_of_docker_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two seconds for the process's own end."""
    from app.settings import Settings  # noqa: PLC0415 - the defaults, not what the tests set

    monkeypatch.delenv("TALLYMAN_GRACEFUL_TIMEOUT", raising=False)
    assert Settings(_env_file=None).graceful_timeout <= 8  # type: ignore[call-arg]
