"""The Procrastinate app: its connections, its log and its checks at the start."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import psycopg
import pytest

from app import database as doors
from app import logs
from app.context import Connection
from app.engine.queue.publish import publish
from app.engine.worker.app import load_arguments
from app.errors import SetupError
from app.settings import settings
from tests.conftest import Database
from tests.helpers.support import drain
from tests.helpers.toy import Outside, say, want


def test_procrastinates_fetch_reads_the_index_too(database: Database) -> None:
    """Its connections have planner settings that make it read the index."""
    with psycopg.connect(
        doors.conninfo(database.url, enable_seqscan="off", enable_bitmapscan="off", enable_sort="off")
    ) as opened:
        shown = [opened.execute(f"SHOW {name}").fetchone() for name in ("enable_sort", "role", "lock_timeout")]
    assert shown == [("off",), ("service_role",), ("30s",)]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The output of the log at level DEBUG."""
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
    """At no level does the log contain data of events. It contains the row's id."""
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


def test_a_worker_refuses_unreadable_keys(
    connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every order would become a dead letter."""
    publish(connection, say("waits"))
    monkeypatch.setenv("TALLYMAN_KEYS", "garbage")
    settings.cache_clear()
    with pytest.raises(SetupError, match="TALLYMAN_KEYS"):
        drain()


@pytest.mark.parametrize("content", ['{"specversion": "1.0"}', '{"events": []}', "[1]", "7" * 5000])
def test_arguments_with_events_are_not_loaded(content: str) -> None:
    """Procrastinate copies and logs what it loads. Neither may a number that Python cannot parse stop the fetches."""
    for text in (content, content.encode()):
        loaded = load_arguments(text)
        assert set(loaded) == {"sealed"}
        assert repr(loaded["sealed"]) == f"<{len(content)} bytes>"
    assert load_arguments('{"n": 1}') == {"n": 1}
