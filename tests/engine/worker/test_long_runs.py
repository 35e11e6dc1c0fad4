"""Long runs, unsafe servers, giving up: what ends a delivery or a worker although nobody was killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from app.context import Connection
from app.engine.queue.publish import publish
from app.engine.worker import supervise
from app.engine.worker.app import app, fresh_connector
from app.engine.worker.preflight import check, problems
from app.engine.worker.rescue import rescue
from app.errors import SetupError
from app.settings import settings, using
from tests.conftest import Database
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, want
from tests.helpers.waits import until


def in_hand(connection: Connection) -> int:
    """A batch of two effects, in hand for two hours, by a worker that lives; its row."""
    publish(connection, want("a"), want("b"))
    worker = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row = int(scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker))
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '2 hours'")
    return row


def freed(connection: Connection) -> list[int]:
    """The rows that a rescue frees where no delivery may run for longer than an hour."""
    limits = settings().model_copy(update={"longest_run": 3600.0})
    return [row.row_id for row in rescue(connection, limits)]


def test_a_long_batch_that_makes_progress_outlives_the_longest_run(connection: Connection, outside: Outside) -> None:
    """Each recorded outcome moves the time of its calls; the run counts from the last one."""
    row = in_hand(connection)
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, begun_at)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), %s, 0, now() - interval '59 minutes')",
        [row],
    )
    assert freed(connection) == []


def test_a_long_batch_that_stands_still_is_freed(connection: Connection, outside: Outside) -> None:
    """Although its worker's heartbeat is fresh."""
    row = in_hand(connection)
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, begun_at)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), %s, 0, now() - interval '61 minutes')",
        [row],
    )
    assert freed(connection) == [row]
    assert scalar(connection, "SELECT reason FROM engine.rescues") == "too_long"


@contextmanager
def switched_off(database: Database, setting: str) -> Iterator[None]:
    """The server without a setting that keeps commits."""
    shown = "SELECT setting FROM pg_settings WHERE name = %s"
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:

        def wait_for(value: str) -> None:
            admin.execute("SELECT pg_reload_conf()")
            with psycopg.connect(database.url, autocommit=True) as listener:
                until(listener, lambda: scalar(admin, shown, setting) == value)

        admin.execute(f"ALTER SYSTEM SET {setting} = off")
        try:
            wait_for("off")
            yield
        finally:
            admin.execute(f"ALTER SYSTEM RESET {setting}")
            wait_for("on")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_loses_commits_is_refused(database: Database, connection: Connection, setting: str) -> None:
    """Each setting by its name; `--unsafe` overrules it."""
    assert problems(connection) == []
    with switched_off(database, setting), psycopg.connect(database.url) as fresh:
        fresh.execute("SET ROLE service_role")
        with pytest.raises(SetupError, match=f"{setting} is off: a crash of the server loses commits"):
            check(fresh)
        with using(unsafe=True):
            check(fresh)


def test_a_worker_that_fails_again_and_again_gives_up(
    database: Database, connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten failures in a row its exit code is 1, which tells that something is wrong."""
    monkeypatch.setattr(supervise, "_LONGEST_PAUSE_S", 0.01)
    register = "FUNCTION public.procrastinate_register_worker_v1()"
    with psycopg.connect(database.owner_url, autocommit=True) as owner, app.replace_connector(fresh_connector()):
        owner.execute(f"REVOKE EXECUTE ON {register} FROM PUBLIC")
        try:
            assert asyncio.run(supervise.supervise(app, supervise.plan(["events"], 1))) == 1
        finally:
            owner.execute(f"GRANT EXECUTE ON {register} TO PUBLIC")
