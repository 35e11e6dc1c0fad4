"""Workers: each says who it is when it starts, shows what it has in hand, and is forgotten when it is gone."""

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
    """A connection that does nothing but listen."""
    with doors.connect(database.url, autocommit=True) as opened:
        yield opened


def registered(connection: Connection) -> int:
    """The id of a worker that says nothing of itself."""
    return int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))


def known(connection: Connection) -> int:
    """How many workers have said who they are."""
    return int(scalar(connection, "SELECT count(*) FROM engine.workers"))


def without_pruning(connection: Connection) -> None:
    """As if others had pruned this quarter of an hour and the next: else a worker may start with that in hand."""
    connection.execute(
        "INSERT INTO public.procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)"
        " SELECT 'prune', 'tallyman', 900 * (floor(extract(epoch FROM now()) / 900)::bigint + n)"
        "   FROM generate_series(0, 1) n"
    )


def test_each_worker_of_a_process_says_who_it_is_and_goes_with_it(
    connection: Connection, listener: Connection, tmp_path: Path
) -> None:
    """Name, host, process, queues, version; one that stops in order leaves nothing behind."""
    with worker_pool(tmp_path) as workers:
        without_pruning(connection)
        worker = workers.work()
        until(listener, lambda: known(connection) == 2)
        found = sorted(list_workers(connection), key=lambda worker: worker.name or "")
        assert worker.stop() == 0
    told = [(one.name, one.host, one.pid, one.queues, one.version) for one in found]
    here = (socket.gethostname(), worker.process.pid)
    assert told == [("effects", *here, ["robots"], version()), ("events", *here, ["events"], version())]
    assert not any(one.is_stale or one.in_hand for one in found)
    assert all(one.is_known and one.started_at for one in found)
    assert (list_workers(connection), known(connection)) == ([], 0)


def test_a_worker_of_procrastinates_command_line_says_who_it_is(
    connection: Connection, listener: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves this program's queues. The console script finds the app only where the checkout is on the path."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with worker_pool(tmp_path) as workers:
        workers.plain("--name", "plain")
        until(listener, lambda: known(connection) == 1)
        assert [(one.name, one.queues) for one in list_workers(connection)] == [("plain", ["events", "robots"])]


def test_a_worker_that_was_killed_turns_stale_and_is_forgotten_by_the_next(
    connection: Connection, outside: Outside, listener: Connection, tmp_path: Path
) -> None:
    """Nobody unregisters it: its heartbeat ages, and the next worker that starts drops both of its rows."""
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


def test_what_a_worker_has_in_hand_is_told_with_its_age(connection: Connection, outside: Outside) -> None:
    """The queue row, its task and queue, and when this delivery of it began."""
    worker_id = registered(connection)
    publish(connection, say("in hand"))
    row = scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker_id)
    publish(connection, say("waiting"))
    (worker,) = list_workers(connection)
    (hand,) = worker.in_hand
    assert (hand.row_id, hand.worker_id, hand.task_name, hand.queue_name) == (row, worker_id, "consume", "events")
    assert hand.since is not None
    assert hand.since == scalar(connection, "SELECT max(at) FROM public.procrastinate_events WHERE type = 'started'")


def test_a_worker_that_says_nothing_of_itself_is_listed_while_it_works_here(
    connection: Connection, outside: Outside
) -> None:
    """It may be another program's, or an older one: what it has in hand tells, and then it may serve anything."""
    worker_id = registered(connection)
    assert list_workers(connection) == []
    publish(connection, say("in hand"))
    connection.execute("SELECT FROM procrastinate_fetch_job_v2(NULL, %s)", [worker_id])
    (worker,) = list_workers(connection)
    assert (worker.worker_id, worker.is_known, worker.name, worker.queues) == (worker_id, False, None, None)
    assert serving([worker], "events") == [worker]
    assert worker.label == str(worker_id)


def test_a_heartbeat_is_stale_when_the_settings_say_so(connection: Connection) -> None:
    """The limit is the one by which its deliveries are rescued."""
    limit = settings().stalled_after
    for worker_id, age in [(enlist(connection), limit - 1), (enlist(connection), limit + 1)]:
        connection.execute(_HEARTBEAT, [f"{age} s", worker_id])
    assert [one.is_stale for one in list_workers(connection)] == [False, True]
