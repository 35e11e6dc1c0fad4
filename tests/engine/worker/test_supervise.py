"""Supervise workers: plan them, and restart them after a failure."""

from __future__ import annotations

import asyncio
import os
import signal

import psycopg
import pytest

from app.context import Connection
from app.engine.worker import stopping, supervise
from app.engine.worker.app import app, fresh_connector
from app.errors import InvalidInput, SetupError
from tests.conftest import Database
from tests.helpers.blocking_calls import until
from tests.helpers.children import default_signals
from tests.helpers.support import scalar
from tests.helpers.toy import Outside
from tests.helpers.waits import LIMIT_S


def test_a_worker_that_fails_ten_times_in_a_row_gives_up(
    database: Database, connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit status is 1."""
    monkeypatch.setattr(supervise, "_LONGEST_PAUSE_S", 0.01)
    register = "FUNCTION public.procrastinate_register_worker_v1()"
    with psycopg.connect(database.owner_url, autocommit=True) as owner, app.replace_connector(fresh_connector()):
        owner.execute(f"REVOKE EXECUTE ON {register} FROM PUBLIC")
        try:
            assert asyncio.run(supervise.supervise(app, supervise.plan(["events"], 1))) == 1
        finally:
            owner.execute(f"GRANT EXECUTE ON {register} TO PUBLIC")


def test_events_and_effects_have_workers_of_their_own(outside: Outside) -> None:
    """Slow calls then never delay handlers. `concurrency` is that of the effects."""
    assert supervise.plan(None, None) == [
        {"queues": ["events"], "name": "events", "concurrency": 2},
        {"queues": ["toys"], "name": "effects", "concurrency": 4},
    ]
    assert [worker["concurrency"] for worker in supervise.plan(None, 9)] == [2, 9]


def test_named_queues_have_one_worker(outside: Outside) -> None:
    """An unknown queue is an error that names the known ones."""
    assert supervise.plan(["toys", "events"], None) == [
        {"queues": ["toys", "events"], "name": "toys-events", "concurrency": 4}
    ]
    assert supervise.plan(["toys"], 7)[0]["concurrency"] == 7
    with pytest.raises(InvalidInput, match="queues: unknown nowhere; there are events, toys"):
        supervise.plan(["toys", "nowhere"], None)


def test_an_unsuitable_schema_ends_the_supervision_at_once(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """A restart would not help: `SetupError`."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner, app.replace_connector(fresh_connector()):
        owner.execute("ALTER TABLE engine.paused_queues RENAME TO away")
        try:
            with pytest.raises(SetupError, match=r"engine\.paused_queues"):
                asyncio.run(supervise.supervise(app, supervise.plan(["events"], 1)))
        finally:
            owner.execute("ALTER TABLE engine.away RENAME TO paused_queues")


def test_a_stop_request_ends_the_supervision(
    database: Database, connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit status is 0, and the workers are unregistered."""
    # The timers of a stop end the process.
    monkeypatch.setattr(stopping, "_after", lambda _seconds, _action: None)

    async def stopped() -> int:
        async with asyncio.timeout(LIMIT_S):
            running = asyncio.create_task(supervise.supervise(app, supervise.plan(["events"], 1)))
            await until(lambda: scalar(connection, "SELECT count(*) FROM engine.workers"))
            os.kill(os.getpid(), signal.SIGTERM)
            return await running

    with app.replace_connector(fresh_connector()), default_signals(signal.SIGTERM):
        assert asyncio.run(stopped()) == 0
    assert scalar(connection, "SELECT count(*) FROM engine.workers") == 0
