"""A database shared with another program that uses Procrastinate: neither touches the other's jobs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import procrastinate
import psycopg
import pytest

import events
from app import database as doors
from app.context import Connection
from app.engine.domain import wiring
from app.engine.inspect.backlog import backlogs
from app.engine.inspect.explain import explain_event
from app.engine.queue.pauses import pause
from app.engine.queue.publish import publish
from app.engine.queue.workers import deliveries, list_workers
from app.engine.worker.prune import prune
from app.engine.worker.rescue import rescue, sweep
from app.errors import InvalidInput
from app.settings import settings
from events import Event
from events.order import OrderUpdated
from tests.conftest import Database
from tests.helpers.support import drain, scalar, waiting
from tests.helpers.toy import Outside, say
from tests.helpers.waits import until
from tests.helpers.workers import worker_pool

_STATES = "SELECT args->>'n', status::text FROM public.procrastinate_jobs WHERE queue_name = 'default' ORDER BY id"


@pytest.fixture
def other(database: Database) -> procrastinate.App:
    """Another program with its own login and one task, which fails for odd numbers."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database.superuser_url))

    @app.task(name="other_app.send_mail", queue="default")
    async def send_mail(n: int) -> None:
        if n % 2:
            raise ValueError(n)

    return app


def defer(other: procrastinate.App, *numbers: int) -> None:
    """Enqueue jobs of the other program."""

    async def run() -> None:
        async with other.open_async():
            for n in numbers:
                await other.tasks["other_app.send_mail"].defer_async(n=n)

    asyncio.run(run())


def work(other: procrastinate.App) -> None:
    """Run the other program's worker."""

    async def run() -> None:
        async with other.open_async():
            await other.run_worker_async(queues=["default"], wait=False, install_signal_handlers=False)

    asyncio.run(run())


def register_other(connection: Connection, *, silent_for: str = "0 s") -> int:
    """Register a worker of the other program with a heartbeat of this age. Returns its id."""
    worker_id = int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))
    connection.execute(
        "UPDATE public.procrastinate_workers SET last_heartbeat = now() - %s::interval WHERE id = %s",
        [silent_for, worker_id],
    )
    return worker_id


def states(connection: Connection) -> list[tuple[str, str]]:
    """Return the states of the other program's jobs."""
    return connection.execute(_STATES).fetchall()


def test_our_worker_takes_no_job_of_another_program(
    connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """Even one that serves all queues."""
    defer(other, 0)
    publish(connection, say("ours"))
    drain()
    assert states(connection) == [("0", "todo")]
    assert waiting(connection) == 0
    work(other)
    assert states(connection) == [("0", "succeeded")]


def test_a_failed_job_of_another_program_stays(
    connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """It is no dead letter here."""
    defer(other, 1)
    work(other)
    assert sweep(connection) == 0
    assert states(connection) == [("1", "failed")]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0


def test_deliveries_of_another_program_are_not_rescued(
    connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """Although its worker has sent no heartbeat for an hour."""
    defer(other, 0)
    worker_id = register_other(connection, silent_for="1 hour")
    connection.execute("SELECT FROM procrastinate_fetch_job_v2(ARRAY['default']::varchar[], %s)", [worker_id])
    assert rescue(connection, settings()) == []
    assert states(connection) == [("0", "doing")]
    assert deliveries(connection) == []
    assert scalar(connection, "SELECT count(*) FROM engine.rescues") == 0


def test_finished_jobs_of_another_program_are_not_pruned(
    database: Database, connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """However old. Its queues are not counted."""
    defer(other, 0)
    work(other)
    with psycopg.connect(database.superuser_url) as admin:
        admin.execute("UPDATE public.procrastinate_events SET at = now() - interval '1 year'")
    prune(connection, older_than=0)
    assert states(connection) == [("0", "succeeded")]
    defer(other, 2)
    assert "default" not in [one.queue_name for one in backlogs(connection)]


def test_workers_of_another_program_are_ignored(
    connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """They are not listed, serve none of our queues, and are not unregistered."""
    defer(other, 0)
    worker_id = register_other(connection)
    connection.execute("SELECT FROM procrastinate_fetch_job_v2(ARRAY['default']::varchar[], %s)", [worker_id])
    silent = register_other(connection, silent_for="1 hour")
    publish(connection, event := say("ours"))
    assert list_workers(connection) == []
    assert "no_worker" in [reason.kind for reason in explain_event(connection, event.id)]
    drain()
    left = {one for (one,) in connection.execute("SELECT id FROM public.procrastinate_workers")}
    assert {worker_id, silent} <= left


def test_a_pause_concerns_our_queues_only(connection: Connection, outside: Outside, other: procrastinate.App) -> None:
    """The other worker goes on, and its queue cannot be paused."""
    for queue in wiring().queues():
        pause(connection, queue, actor="ana", reason="a test")
    defer(other, 0)
    work(other)
    assert states(connection) == [("0", "succeeded")]
    with pytest.raises(InvalidInput, match="there is no 'default'"):
        pause(connection, "default", actor="ana", reason="a test")


def test_an_unknown_task_in_one_of_our_queues_is_ours(connection: Connection, outside: Outside) -> None:
    """It becomes a dead letter, and so does a failed row of our tasks in any queue."""
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args, status) VALUES"
        " ('events', 'gone.task', '{}', 'failed'), ('old_queue', 'perform', '{}', 'failed'),"
        " ('default', 'gone.task', '{}', 'failed')"
    )
    assert sweep(connection) == 2
    left = connection.execute("SELECT queue_name, task_name FROM public.procrastinate_jobs").fetchall()
    assert left == [("default", "gone.task")]


def test_two_programs_share_a_database(
    database: Database, connection: Connection, other: procrastinate.App, tmp_path: Path
) -> None:
    """Real workers of both, ours for all queues: each does its own jobs."""
    ours = [event_of_ours() for _ in range(20)]
    with doors.connect(database.url, autocommit=True) as listener, worker_pool(tmp_path) as workers:
        workers.plain()
        workers.work()
        for start in range(0, 20, 5):
            publish(connection, *ours[start : start + 5], batch_size=1)
            publish(connection, *ours[start : start + 5], batch_size=1, delay=0.2)
            defer(other, *range(start, start + 5))
            until(listener, lambda start=start: applied(connection) == start + 5)  # type: ignore[misc]
        until(listener, lambda: waiting(connection) == 0)
        assert {state for _, state in states(connection)} == {"todo"}
        work(other)
    assert states(connection) == [(str(n), "failed" if n % 2 else "succeeded") for n in range(20)]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0
    assert {"consume", "consume_parcel", "perform"}.isdisjoint(
        task for (task,) in connection.execute("SELECT task_name FROM public.procrastinate_jobs")
    )


def event_of_ours() -> Event[Any]:
    """Return an event of this program whose handler changes nothing."""
    said = OrderUpdated(order_id=uuid4(), before={"city": "Cali"}, after={"city": "Bogotá"})
    return events.new(said, now=datetime.now(UTC), subject=None, tenant=None)


def applied(connection: Connection) -> int:
    """Return the number of events in the ledger."""
    return int(scalar(connection, "SELECT count(*) FROM engine.event_log"))
