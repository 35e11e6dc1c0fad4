"""Upkeep: the periodic work of a worker for all workers: rescue, sweep, wake parked rows, promote delayed rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from app import database as doors
from app.context import Connection
from app.engine.domain import ConcurrencyLimit
from app.engine.effects.concurrency import PARKED_S
from app.engine.queue.publish import publish, put_back
from app.engine.worker.upkeep import upkeep
from app.settings import settings
from app.testing import worker
from tests.conftest import Database
from tests.helpers.blocking_calls import until
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say, want
from tests.helpers.waits import LIMIT_S

_DOING = "SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'doing'"
_TODO = "SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'todo'"
_STALL = "UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity'"


@pytest.fixture
def pool(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectionPool[Connection]]:
    """A worker's pool, with short intervals."""
    for name in ("RESCUE_INTERVAL", "SWEEP_INTERVAL"):
        monkeypatch.setenv(f"TALLYMAN_{name}", "0.05")
    settings.cache_clear()
    with doors.pool(max_size=4, address=database.url) as opened:
        yield opened


@asynccontextmanager
async def running(pool: ConnectionPool[Connection]) -> AsyncIterator[None]:
    """Run upkeep during the block, for a limited time."""
    async with asyncio.timeout(LIMIT_S), upkeep(pool):
        yield


async def test_deliveries_of_a_stalled_worker_are_rescued(
    connection: Connection, outside: Outside, pool: ConnectionPool[Connection]
) -> None:
    """Their rows wait again, with one attempt more."""
    publish(connection, say("word"))
    worker.fetch(connection, worker.register(connection))
    async with running(pool):
        await until(lambda: scalar(connection, _DOING) == 1)
        connection.execute(_STALL)
        await until(lambda: scalar(connection, _TODO) == 1)
    assert scalar(connection, "SELECT attempts FROM public.procrastinate_jobs") == 1


async def test_due_rows_are_promoted(
    connection: Connection, outside: Outside, pool: ConnectionPool[Connection]
) -> None:
    """A delayed row enters the queue when it is due, by the promoter."""
    publish(connection, say("word"), delay=0.2)
    assert scalar(connection, _TODO) == 0
    async with running(pool):
        await until(lambda: scalar(connection, _TODO) == 1)


async def test_parked_rows_are_woken(
    connection: Connection, outside: Outside, pool: ConnectionPool[Connection]
) -> None:
    """A slot is free although no delivery freed it: its worker crashed."""
    event = want("parked", limit="account")
    raw = event.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(event, raw)], delay=PARKED_S, attempt=0, limit=ConcurrencyLimit("account", 1))
    async with running(pool):
        await until(lambda: scalar(connection, _TODO) == 1)


async def test_rows_that_failed_in_the_queue_are_buried(
    connection: Connection, outside: Outside, pool: ConnectionPool[Connection]
) -> None:
    """Procrastinate failed them by itself, for example a task that it does not know."""
    publish(connection, say("word"))
    connection.execute("UPDATE public.procrastinate_jobs SET status = 'failed'")
    async with running(pool):
        await until(lambda: scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 1)


async def test_an_error_does_not_end_the_upkeep(
    database: Database,
    connection: Connection,
    outside: Outside,
    pool: ConnectionPool[Connection],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next pass works again when the obstacle is gone."""
    publish(connection, say("word"))
    worker.fetch(connection, worker.register(connection))
    connection.execute(_STALL)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE engine.rescues RENAME TO away")
        try:
            async with running(pool):
                await until(lambda: any("cannot rescue now" in str(record.msg) for record in caplog.records))
                assert scalar(connection, _DOING) == 1
                owner.execute("ALTER TABLE engine.away RENAME TO rescues")
                await until(lambda: scalar(connection, _TODO) == 1)
        finally:
            owner.execute("ALTER TABLE IF EXISTS engine.away RENAME TO rescues")


async def test_nothing_runs_after_the_block(outside: Outside, pool: ConnectionPool[Connection]) -> None:
    """Both tasks have ended, so the pool can be closed."""
    async with running(pool):
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert {"upkeep", "promoter"} <= names
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {"upkeep", "promoter"} & names
