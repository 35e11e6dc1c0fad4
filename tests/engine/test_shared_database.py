"""A database that other programs use for Procrastinate too: neither program touches the other's jobs."""

from __future__ import annotations

import asyncio

import procrastinate
import psycopg
import pytest

from app.context import Connection
from app.engine.backlog import backlogs
from app.engine.prune import prune
from app.engine.publish import publish
from app.engine.rescue import rescue, sweep
from app.engine.workers import deliveries
from app.settings import settings
from tests.conftest import Database
from tests.engine.toy import Outside, say
from tests.support import drain, scalar, waiting

_STATES = "SELECT args->>'n', status::text FROM public.procrastinate_jobs WHERE queue_name = 'default' ORDER BY id"


@pytest.fixture
def other(database: Database) -> procrastinate.App:
    """Another program, with a login of its own choice and one task: it fails for odd numbers."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database.superuser_url))

    @app.task(name="other_app.send_mail", queue="default")
    async def send_mail(n: int) -> None:
        if n % 2:
            raise ValueError(n)

    return app


def defer(other: procrastinate.App, *numbers: int) -> None:
    """The other program enqueues jobs of its own."""

    async def run() -> None:
        async with other.open_async():
            for n in numbers:
                await other.tasks["other_app.send_mail"].defer_async(n=n)

    asyncio.run(run())


def work(other: procrastinate.App) -> None:
    """The other program's worker does what it finds in its queue."""

    async def run() -> None:
        async with other.open_async():
            await other.run_worker_async(queues=["default"], wait=False, install_signal_handlers=False)

    asyncio.run(run())


def states(connection: Connection) -> list[tuple[str, str]]:
    """The other program's jobs and how they stand."""
    return connection.execute(_STATES).fetchall()


def test_our_worker_takes_no_job_of_another_program(
    connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """Also one that serves all queues: it knows no such task and would fail the job."""
    defer(other, 0)
    publish(connection, say("ours"))
    drain()
    assert states(connection) == [("0", "todo")]
    assert waiting(connection) == 0
    work(other)
    assert states(connection) == [("0", "succeeded")]


def test_what_fails_for_another_program_is_its_own(
    connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """Its failed job is no dead letter of ours, and stays for it to see."""
    defer(other, 1)
    work(other)
    assert sweep(connection) == 0
    assert states(connection) == [("1", "failed")]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0


def test_what_another_program_has_in_hand_is_not_rescued(
    connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """Its worker is silent for an hour: that is for it to mend."""
    defer(other, 0)
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    connection.execute("SELECT FROM procrastinate_fetch_job_v2(ARRAY['default']::varchar[], %s)", [worker_id])
    connection.execute(
        "UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id = %s", [worker_id]
    )
    assert rescue(connection, settings()) == []
    assert states(connection) == [("0", "doing")]
    assert deliveries(connection) == []
    assert scalar(connection, "SELECT count(*) FROM engine.rescues") == 0


def test_what_another_program_has_finished_is_not_pruned(
    database: Database, connection: Connection, outside: Outside, other: procrastinate.App
) -> None:
    """However old; and no queue of it is counted."""
    defer(other, 0)
    work(other)
    with psycopg.connect(database.superuser_url) as admin:
        admin.execute("UPDATE public.procrastinate_events SET at = now() - interval '1 year'")
    prune(connection, older_than=0)
    assert states(connection) == [("0", "succeeded")]
    defer(other, 2)
    assert "default" not in [one.queue_name for one in backlogs(connection)]
