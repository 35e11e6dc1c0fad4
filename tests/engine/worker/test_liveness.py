"""Liveness: a worker whose session has ended is gone. Otherwise its heartbeat decides."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from app import database as doors
from app.context import Connection
from app.engine.queue.publish import publish
from app.engine.queue.workers import list_workers
from app.engine.worker import liveness
from app.engine.worker.liveness import APPLICATION, Session, forget_gone
from app.engine.worker.rescue import rescue
from app.settings import Settings, settings
from tests.conftest import Database
from tests.helpers.children import ROOT, child, read_line
from tests.helpers.support import drain_all, scalar, waiting
from tests.helpers.toy import Outside, say
from tests.helpers.waits import LIMIT_S, until
from tests.helpers.workers import worker_pool

HOLDER = """
import asyncio
from app.engine.queue import app

async def hold():
    async with app.open_async(), app.at_work(1):
        workers = [await app.job_manager.register_worker() for _ in range(2)]
        jobs = [await app.job_manager.fetch_job(["events"], worker) for worker in workers]
        print(*workers, *(job.id for job in jobs), flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""
"""Two workers of one process, each with a row in hand."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process with the ids of its workers and of the rows that they hold."""

    process: subprocess.Popen[str]
    workers: list[int]
    rows: list[int]


@contextmanager
def holder() -> Iterator[Holder]:
    """A process that holds two rows. It is killed at the end."""
    environment = {**os.environ, "TALLYMAN_RESCUE_INTERVAL": "3600"}  # it leaves the rescue to the test
    with child(sys.executable, "-c", HOLDER, environment=environment, stdout=subprocess.PIPE) as process:
        told = [int(word) for word in read_line(process.stdout).split()]
        try:
            yield Holder(process, told[:2], sorted(told[2:]))
        finally:
            process.kill()  # it may be frozen


def no_stale_heartbeats() -> Settings:
    """Limits under which no heartbeat is too old."""
    return settings().model_copy(update={"stalled_after": 3600.0, "longest_run": 3600.0})


def freed(connection: Connection) -> list[int]:
    """Return the rows that a rescue frees, whatever the heartbeats are."""
    return sorted(row.row_id for row in rescue(connection, no_stale_heartbeats()))


def gone(connection: Connection) -> list[int]:
    """Return the workers whose session has ended."""
    return sorted(worker for (worker,) in connection.execute("SELECT worker_id FROM engine.gone_workers()"))


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition is true."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT_S:.0f} s"


def end_sessions(database: Database) -> None:
    """End only the sessions that show that workers are alive."""
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        assert admin.execute(ended, [APPLICATION]).fetchall()


@pytest.fixture
def two(connection: Connection, outside: Outside) -> None:
    """Publish two rows."""
    publish(connection, say("one"), say("two"), batch_size=1)


@pytest.mark.usefixtures("two")
def test_the_deliveries_of_a_killed_process_are_freed_at_once(connection: Connection) -> None:
    """SIGKILL ends its session, so all its workers are gone, however fresh their heartbeats are."""
    with holder() as held:
        assert freed(connection) == gone(connection) == []
        held.process.kill()
        wait_for(lambda: gone(connection) == held.workers)
        assert [worker.is_stale for worker in list_workers(connection)] == [True, True]
        assert freed(connection) == held.rows
    assert scalar(connection, "SELECT array_agg(DISTINCT reason) FROM engine.rescues") == ["worker_gone"]
    assert sorted(forget_gone(connection)) == held.workers
    assert list_workers(connection) == []
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 2


@pytest.mark.usefixtures("two")
def test_a_frozen_process_keeps_its_session_and_is_found_by_its_heartbeat(connection: Connection) -> None:
    """SIGSTOP ends no session."""
    with holder() as held:
        os.kill(held.process.pid, signal.SIGSTOP)
        assert freed(connection) == gone(connection) == []
        connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 day'")
        assert freed(connection) == held.rows
        assert gone(connection) == []


@pytest.mark.usefixtures("two")
def test_a_worker_that_is_gone_fetches_nothing(database: Database, connection: Connection) -> None:
    """The rescue unregisters it, so a process that lost only its session cannot fetch."""
    with holder() as held:
        end_sessions(database)
        wait_for(lambda: gone(connection) == held.workers)
        assert freed(connection) == held.rows
        assert sorted(forget_gone(connection)) == held.workers
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", [held.workers[0]])


def enlisted(connection: Connection, key: int | None, *, before: str = "0 s") -> int:
    """Register a worker with this key and a fresh heartbeat. `before`: before the last start of the server."""
    worker = int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))
    connection.execute(
        "INSERT INTO engine.workers (worker_id, host, pid, version, session_key, server_started_at)"
        " VALUES (%s, 'here', 1, '0', %s, pg_postmaster_start_time() - %s::interval)",
        [worker, key, before],
    )
    return worker


def test_a_worker_without_a_key_is_judged_by_its_heartbeat_alone(connection: Connection) -> None:
    """A worker of an older program holds no lock."""
    enlisted(connection, None)
    assert gone(connection) == []


def test_a_lock_counts_in_its_own_database_alone(database: Database, connection: Connection) -> None:
    """Another database of the server may have the same key."""
    worker = enlisted(connection, 7)
    lock = "SELECT pg_advisory_lock(1952541804, 7)"
    with psycopg.connect(make_conninfo(database.superuser_url, dbname="postgres"), autocommit=True) as other:
        other.execute(lock)
        assert gone(connection) == [worker]
    with doors.connect(database.url, autocommit=True) as own:
        own.execute(lock)
        assert gone(connection) == []


def test_a_process_holds_its_lock_while_it_is_registered(connection: Connection, outside: Outside) -> None:
    """So a live worker never looks gone."""

    async def live() -> None:
        session = await Session.open()
        assert gone(connection) == []
        enlisted(connection, session.key)
        assert gone(connection) == []
        assert not session.lost.done()
        await session.close()

    asyncio.run(live())
    wait_for(lambda: len(gone(connection)) == 1)


def test_a_restart_of_the_server_counts_against_no_event(connection: Connection, outside: Outside) -> None:
    """It ends every session. However often it happens, no event is buried for it."""
    publish(connection, say("innocent"))
    for _ in range(settings().most_rescues + 2):
        worker = enlisted(connection, 9, before="1 day")
        connection.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", [worker])
        (row,) = rescue(connection, no_stale_heartbeats())
        assert row.rescues == 0
        connection.execute("UPDATE engine.workers SET session_key = NULL")
    assert waiting(connection) == 1
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1


def test_after_a_restart_of_the_server_siblings_are_taken_along(connection: Connection, outside: Outside) -> None:
    """After a worker's crash events are delivered alone for a minute; after a restart they are not."""
    publish(connection, *[say(f"n{n}") for n in range(4)], batch_size=1)
    worker = enlisted(connection, 13, before="1 day")
    connection.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", [worker])
    assert len(freed(connection)) == 1
    (row,) = connection.execute("SELECT id, attempts FROM procrastinate_fetch_job_v2(NULL, %s)", [worker]).fetchall()
    claimed = "SELECT count(*) FROM engine.claim(%s, %s, %s, 10)"
    assert scalar(connection, claimed, *row, worker) == 4


def test_a_rescue_wakes_the_workers(database: Database, connection: Connection, outside: Outside) -> None:
    """A freed row is announced like an inserted one."""
    publish(connection, say("again"))
    worker = enlisted(connection, 11)
    row = scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker)
    with doors.connect(database.url, autocommit=True) as listener:
        listener.execute('LISTEN "procrastinate_queue_v1#events"')
        listener.execute("LISTEN procrastinate_any_queue_v1")
        assert freed(connection) == [row]
        heard = list(listener.notifies(timeout=LIMIT_S, stop_after=2))
    assert {one.channel for one in heard} == {"procrastinate_queue_v1#events", "procrastinate_any_queue_v1"}
    assert [one.payload for one in heard] == [f'{{"type" : "job_inserted", "job_id" : {row}}}'] * 2


@pytest.mark.parametrize("how", ["terminated", "silent"])
def test_a_process_notices_that_its_session_has_ended(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """At once if the server closes it, and after a time limit if the server does not answer."""
    monkeypatch.setattr(liveness, "_PING_S", 0.1)
    monkeypatch.setattr(liveness, "_PATIENCE_S", 0.3)
    pid = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"

    async def live() -> None:
        session = await Session.open()
        backend = int(scalar(connection, pid, APPLICATION))
        if how == "terminated":
            end_sessions(database)
        else:
            os.kill(backend, signal.SIGSTOP)
        try:
            await asyncio.wait({session.lost}, timeout=LIMIT_S)
            assert session.lost.done()
        finally:
            if how == "silent":
                os.kill(backend, signal.SIGCONT)
        await session.close()

    asyncio.run(live())


@pytest.mark.parametrize("kind", ["work", "plain"])
def test_a_worker_that_lost_its_session_registers_anew(
    database: Database,
    connection: Connection,
    outside: Outside,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """The supervised worker and Procrastinate's own: same process, new registration, new key."""
    registered = "SELECT coalesce(array_agg(session_key ORDER BY worker_id), '{}') FROM engine.workers"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with worker_pool(tmp_path) as workers, doors.connect(database.url, autocommit=True) as listener:
        worker = workers.work() if kind == "work" else workers.plain()
        count = 2 if kind == "work" else 1
        until(listener, lambda: len(scalar(connection, registered)) == count)
        (key,) = set(scalar(connection, registered))
        end_sessions(database)
        until(
            listener, lambda: {*scalar(connection, registered)} - {key} and len(scalar(connection, registered)) == count
        )
        assert gone(connection) == []
        assert worker.process.poll() is None
        assert worker.stop() == 0, worker.log.read_text()
