"""Workers: each registers with its identity, shows its deliveries, and is removed when it is gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app import database as doors
from app.context import Connection
from app.engine.queue.publish import publish
from app.engine.queue.workers import list_workers, serving, version
from app.program import WIRING
from app.settings import settings
from tests.conftest import Database
from tests.helpers.children import ROOT
from tests.helpers.health_fixtures import enlist
from tests.helpers.operators import work_once
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say
from tests.helpers.waits import until
from tests.helpers.workers import worker_pool

_HEARTBEAT = "UPDATE public.procrastinate_workers SET last_heartbeat = now() - %s::interval WHERE id = %s"


@pytest.fixture
def listener(database: Database) -> Iterator[Connection]:
    """A connection that only listens."""
    with doors.connect(database.url, autocommit=True) as opened:
        yield opened


def registered(connection: Connection) -> int:
    """Register a worker without an identity. Returns its id."""
    return int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))


def known(connection: Connection) -> int:
    """Return the number of workers with an identity."""
    return int(scalar(connection, "SELECT count(*) FROM engine.workers"))


def without_pruning(connection: Connection) -> None:
    """Mark this and the next periodic prune as done, so that no worker starts with it."""
    connection.execute(
        "INSERT INTO public.procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)"
        " SELECT 'prune', 'tallyman', 900 * (floor(extract(epoch FROM now()) / 900)::bigint + n)"
        "   FROM generate_series(0, 1) n"
    )


def test_each_worker_registers_its_identity(connection: Connection, listener: Connection, tmp_path: Path) -> None:
    """Name, host, process, queues, version. A worker that stops removes its rows."""
    with worker_pool(tmp_path) as workers:
        without_pruning(connection)
        worker = workers.work()
        until(listener, lambda: known(connection) == 2)
        found = sorted(list_workers(connection), key=lambda worker: worker.name or "")
        assert worker.stop() == 0
    told = [(one.name, one.host, one.pid, one.queues, one.version) for one in found]
    here = (socket.gethostname(), worker.process.pid)
    assert told == [("effects", *here, WIRING.effect_queues(), version()), ("events", *here, ["events"], version())]
    assert not any(one.is_stale or one.in_hand for one in found)
    assert all(one.is_known and one.started_at for one in found)
    assert (list_workers(connection), known(connection)) == ([], 0)


def test_a_worker_of_procrastinates_command_registers_its_identity(
    connection: Connection, listener: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves this program's queues. The console script needs the checkout on the path."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with worker_pool(tmp_path) as workers:
        workers.plain("--name", "plain")
        until(listener, lambda: known(connection) == 1)
        assert [(one.name, one.queues) for one in list_workers(connection)] == [("plain", WIRING.queues())]


def test_a_killed_worker_becomes_stale_and_is_removed(
    connection: Connection, outside: Outside, listener: Connection, tmp_path: Path
) -> None:
    """The next worker that starts removes its rows."""
    with worker_pool(tmp_path) as workers:
        killed = workers.work()
        until(listener, lambda: known(connection) == 2)
        killed.kill()
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
    stale = list_workers(connection)
    assert [one.is_stale for one in stale] == [True, True]
    assert all(one.heartbeat_age >= timedelta(minutes=1) for one in stale)
    assert serving(stale, "events") == []
    work_once()
    assert (list_workers(connection), known(connection)) == ([], 0)


def test_deliveries_are_listed_with_their_age(connection: Connection, outside: Outside) -> None:
    """Row, task, queue, and the start of the delivery."""
    worker_id = registered(connection)
    publish(connection, say("in hand"))
    row = scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker_id)
    publish(connection, say("waiting"))
    (worker,) = list_workers(connection)
    (hand,) = worker.in_hand
    assert (hand.row_id, hand.worker_id, hand.task_name, hand.queue_name) == (row, worker_id, "consume", "events")
    assert hand.since is not None
    assert hand.since == scalar(connection, "SELECT max(at) FROM public.procrastinate_events WHERE type = 'started'")


def test_a_worker_without_identity_is_listed_while_it_delivers(connection: Connection, outside: Outside) -> None:
    """It may be of another or an older program, and may serve any queue."""
    worker_id = registered(connection)
    assert list_workers(connection) == []
    publish(connection, say("in hand"))
    connection.execute("SELECT FROM procrastinate_fetch_job_v2(NULL, %s)", [worker_id])
    (worker,) = list_workers(connection)
    assert (worker.worker_id, worker.is_known, worker.name, worker.queues) == (worker_id, False, None, None)
    assert serving([worker], "events") == [worker]
    assert worker.label == str(worker_id)


def test_a_heartbeat_is_stale_when_the_settings_say_so(connection: Connection) -> None:
    """The limit is that of rescues."""
    limit = settings().stalled_after
    for worker_id, age in [(enlist(connection), limit - 1), (enlist(connection), limit + 1)]:
        connection.execute(_HEARTBEAT, [f"{age} s", worker_id])
    assert [one.is_stale for one in list_workers(connection)] == [False, True]
