"""The queue: what is published, what a worker is told, and how a claim reads the table."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import psycopg
import pytest

from app import database as doors
from app import logs
from app.context import Connection
from app.engine.queue.publish import publish, publish_async
from app.engine.worker import preflight
from app.errors import SetupError
from app.postgres.embedded import Embedded
from app.settings import settings
from events import InvalidEvent
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import drain, scalar
from tests.helpers.toy import Outside, say, want


def rows(connection: Connection) -> list[tuple[str, str, int]]:
    """Task, queue and priority of every row, in order."""
    return connection.execute(
        "SELECT task_name, queue_name, priority FROM public.procrastinate_jobs ORDER BY id"
    ).fetchall()


def test_events_travel_in_batches_and_effects_in_their_own(connection: Connection, outside: Outside) -> None:
    """One row a batch: events before effects, effects in batches of their own size."""
    publish(connection, say("alone"))
    publish(connection, *[say(f"w{n}") for n in range(501)], *[want(f"c{n}") for n in range(30)])
    assert rows(connection) == [
        ("consume", "events", 10),
        ("consume_parcel", "events", 10),
        ("consume", "events", 10),
        ("perform", "toys", 0),
        ("perform", "toys", 0),
    ]


def test_an_event_loops_producer_publishes_in_its_own_transaction(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The async door says the same, and is as transactional."""

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(doors.conninfo(database.url)) as opened:
            await publish_async(opened, say("kept"))
            await opened.commit()
            await publish_async(opened, say("dropped"))
            await opened.rollback()

    asyncio.run(run())
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 1


@pytest.mark.parametrize("word", ["x" * 300_000, "nul \x00", "half \ud800"])
def test_what_cannot_be_stored_is_refused_before_anything_is(
    connection: Connection, outside: Outside, word: str
) -> None:
    """Too large, a NUL, half a surrogate pair: an error that names the event, and no row."""
    with pytest.raises(InvalidEvent, match=r"toy/word\.said"):
        publish(connection, say("good"), say(word))
    assert rows(connection) == []


def test_a_worker_that_is_nobody_cannot_publish(database: Database, connection: Connection, outside: Outside) -> None:
    """The queue belongs to service_role: a person's role has no way in."""
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        doors.as_person(connection, toy.say("x").id),
    ):
        publish(connection, say("smuggled"))


def test_a_claim_reads_the_index_whatever_the_statistics_say(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """With the statistics of an empty table and thousands of rows waiting, no plan of the claim sorts or scans."""
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        admin.execute("ANALYZE public.procrastinate_jobs")
        publish(connection, *[say(f"w{n}") for n in range(3000)], batch_size=1)
        row = connection.execute("SELECT id FROM public.procrastinate_jobs ORDER BY id LIMIT 1").fetchone()
        assert row is not None
        admin.execute("UPDATE public.procrastinate_jobs SET status = 'doing' WHERE id = %s", row)
        admin.execute("LOAD 'auto_explain'")
        for name, value in {"log_min_duration": "0", "log_nested_statements": "on", "log_level": "notice"}.items():
            admin.execute(f"SET auto_explain.{name} = {value}")
        plans: list[str] = []
        admin.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        taken = admin.execute("SELECT count(*) FROM engine.claim(%s, 0, NULL, 499)", row).fetchone()
    assert taken == (500,)
    siblings = [plan for plan in plans if "SKIP LOCKED" in plan]
    assert len(siblings) == 1
    assert "procrastinate_jobs_priority_idx_v1" in siblings[0]
    assert "Sort" not in siblings[0]
    assert "Seq Scan" not in siblings[0]


def test_procrastinates_fetch_reads_the_index_too(database: Database) -> None:
    """Its connections are told not to sort: the oldest waiting row is found, not searched for."""
    with psycopg.connect(
        doors.conninfo(database.url, enable_seqscan="off", enable_bitmapscan="off", enable_sort="off")
    ) as opened:
        shown = [opened.execute(f"SHOW {name}").fetchone() for name in ("enable_sort", "role", "lock_timeout")]
    assert shown == [("off",), ("service_role",), ("30s",)]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the program's log pipeline writes, at its most talkative."""
    stream = io.StringIO()
    logs.configure()
    root = logging.getLogger()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    root.setLevel(logging.DEBUG)
    yield stream
    logs.configure()


def test_no_argument_reaches_the_log(connection: Connection, outside: Outside, logged: io.StringIO) -> None:
    """Whatever the level and whatever happens, what events say stays out of the log; the row's id does not."""
    publish(connection, say("canary-word"))
    publish(connection, *[want("canary-call", "never") for _ in range(2)])
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)"
        " VALUES ('events', 'no_such_task', %s::jsonb)",
        [json.dumps({"secret": "canary-argument"})],
    )
    drain()
    text = logged.getvalue()
    assert "canary" not in text
    assert "start_worker" in text
    assert all(json.loads(line) for line in text.splitlines())


def test_a_worker_refuses_a_server_that_loses_commits_or_isolation(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fsync off, a superuser, a table without forced policies: no delivery is taken, unless told so."""
    preflight.check(connection)
    with psycopg.connect(database.superuser_url) as admin:
        admin.execute("SET synchronous_commit = off")
        admin.execute("ALTER TABLE logistics.orders NO FORCE ROW LEVEL SECURITY")
        found = " ".join(preflight.problems(admin))
        with pytest.raises(SetupError, match="TALLYMAN_UNSAFE"):
            preflight.check(admin)
        monkeypatch.setenv("TALLYMAN_UNSAFE", "1")
        settings.cache_clear()
        preflight.check(admin)
        admin.rollback()
    for word in ("synchronous_commit", "role postgres", "logistics.orders"):
        assert word in found


def test_a_worker_refuses_a_database_that_is_not_migrated(server: Embedded, connection: Connection) -> None:
    """It says what to run, once, and does not keep trying."""
    preflight.check_schema(connection)
    with psycopg.connect(server.superuser_url) as empty, pytest.raises(SetupError, match=r"cli\.py db migrate"):
        preflight.check_schema(empty)


def test_a_worker_refuses_keys_that_are_none(
    connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that cannot be read would turn every order into a dead letter: it does not begin."""
    publish(connection, say("waits"))
    monkeypatch.setenv("TALLYMAN_KEYS", "garbage")
    settings.cache_clear()
    with pytest.raises(SetupError, match="TALLYMAN_KEYS"):
        drain()
