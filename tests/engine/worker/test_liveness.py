"""Liveness: a worker whose session has ended is gone at once; one whose session lives is judged by its heartbeat."""

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
    """That process: the ids of its workers and of the rows that they hold."""

    process: subprocess.Popen[str]
    workers: list[int]
    rows: list[int]


@contextmanager
def holder() -> Iterator[Holder]:
    """A process that holds two rows; killed at the end if it still runs."""
    environment = {**os.environ, "TALLYMAN_RESCUE_INTERVAL": "3600"}  # it leaves the rescue to the test
    with child(sys.executable, "-c", HOLDER, environment=environment, stdout=subprocess.PIPE) as process:
        told = [int(word) for word in read_line(process.stdout).split()]
        try:
            yield Holder(process, told[:2], sorted(told[2:]))
        finally:
            process.kill()  # it may be frozen


def check_context() -> Settings:
    """Limits under which no heartbeat is ever too old."""
    return settings().model_copy(update={"stalled_after": 3600.0, "longest_run": 3600.0})


def freed(connection: Connection) -> list[int]:
    """The rows that a rescue frees, whatever the heartbeats say."""
    return sorted(row.row_id for row in rescue(connection, check_context()))


def gone(connection: Connection) -> list[int]:
    """The workers whose session has ended."""
    return sorted(worker for (worker,) in connection.execute("SELECT worker_id FROM engine.gone_workers()"))


def wait_for(condition: Callable[[], object]) -> None:
    """Ask until it is true."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT_S:.0f} s"


def end_sessions(database: Database) -> None:
    """End the sessions that show that workers live, and nothing else of theirs."""
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        assert admin.execute(ended, [APPLICATION]).fetchall()


@pytest.fixture
def two(connection: Connection, outside: Outside) -> None:
    """Two rows in the queue."""
    publish(connection, say("one"), say("two"), batch_size=1)


@pytest.mark.usefixtures("two")
def test_the_deliveries_of_a_killed_process_are_freed_at_once(connection: Connection) -> None:
    """SIGKILL ends its session: all of its workers are gone, however fresh their heartbeats are."""
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
    """SIGSTOP ends no session; only the age of the heartbeat shows it."""
    with holder() as held:
        os.kill(held.process.pid, signal.SIGSTOP)
        assert freed(connection) == gone(connection) == []
        connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 day'")
        assert freed(connection) == held.rows
        assert gone(connection) == []


@pytest.mark.usefixtures("two")
def test_a_worker_that_is_gone_can_take_nothing(database: Database, connection: Connection) -> None:
    """It is unregistered with the rescue, so that a process that lost only its session fetches nothing any more."""
    with holder() as held:
        end_sessions(database)
        wait_for(lambda: gone(connection) == held.workers)
        assert freed(connection) == held.rows
        assert sorted(forget_gone(connection)) == held.workers
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", [held.workers[0]])


def enlisted(connection: Connection, key: int | None, *, before: str = "0 s") -> int:
    """A worker with this key and a fresh heartbeat, registered on a server that was started `before` this one."""
    worker = int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))
    connection.execute(
        "INSERT INTO engine.workers (worker_id, host, pid, version, session_key, server_started_at)"
        " VALUES (%s, 'here', 1, '0', %s, pg_postmaster_start_time() - %s::interval)",
        [worker, key, before],
    )
    return worker


def test_a_worker_without_a_key_is_judged_by_its_heartbeat_alone(connection: Connection) -> None:
    """One of an older program holds no lock, and is not gone for that."""
    enlisted(connection, None)
    assert gone(connection) == []


def test_a_lock_counts_in_its_own_database_alone(database: Database, connection: Connection) -> None:
    """Another database of the server may hold the same key."""
    worker = enlisted(connection, 7)
    lock = "SELECT pg_advisory_lock(1952541804, 7)"
    with psycopg.connect(make_conninfo(database.superuser_url, dbname="postgres"), autocommit=True) as other:
        other.execute(lock)
        assert gone(connection) == [worker]
    with doors.connect(database.url, autocommit=True) as own:
        own.execute(lock)
        assert gone(connection) == []


def test_a_process_takes_its_lock_before_it_registers_and_keeps_it_until_it_has_unregistered(
    connection: Connection, outside: Outside
) -> None:
    """So there is no moment at which a worker that lives looks gone."""

    async def live() -> None:
        session = await Session.open()
        assert gone(connection) == []
        enlisted(connection, session.key)
        assert gone(connection) == []
        assert not session.lost.done()
        await session.close()

    asyncio.run(live())
    wait_for(lambda: len(gone(connection)) == 1)


def test_a_restart_of_the_server_is_held_against_no_event(connection: Connection, outside: Outside) -> None:
    """It ends the session of every worker. However often that happens, nothing is buried for it."""
    publish(connection, say("innocent"))
    for _ in range(settings().most_rescues + 2):
        worker = enlisted(connection, 9, before="1 day")
        connection.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", [worker])
        (row,) = rescue(connection, check_context())
        assert row.rescues == 0
        connection.execute("UPDATE engine.workers SET session_key = NULL")
    assert waiting(connection) == 1
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1


def test_after_a_restart_of_the_server_siblings_are_taken_along(connection: Connection, outside: Outside) -> None:
    """After the death of a worker each event is delivered alone for a minute, and not after this."""
    publish(connection, *[say(f"n{n}") for n in range(4)], batch_size=1)
    worker = enlisted(connection, 13, before="1 day")
    connection.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", [worker])
    assert len(freed(connection)) == 1
    (row,) = connection.execute("SELECT id, attempts FROM procrastinate_fetch_job_v2(NULL, %s)", [worker]).fetchall()
    claimed = "SELECT count(*) FROM engine.claim(%s, %s, %s, 10)"
    assert scalar(connection, claimed, *row, worker) == 4


def test_a_rescue_wakes_the_workers(database: Database, connection: Connection, outside: Outside) -> None:
    """A freed row is no inserted one: it is announced as one is, or it would wait for the next poll."""
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
    """At once when the server closes it, and after a limit of its own when the server says nothing any more."""
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
    """The supervised one and Procrastinate's own: same process, another registration, another key."""
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
