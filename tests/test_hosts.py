"""Several hosts: the first accepts connections and does not answer, the second is used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app import database as doors
from app.context import Connection
from app.engine.health.doctor import check_context
from app.engine.health.schema_drift import drifts
from app.engine.progress import listen
from app.engine.worker.liveness import Session
from app.schema import migrate
from app.settings import settings
from tests.conftest import Database
from tests.helpers.children import CLI, finished
from tests.helpers.support import drain, scalar
from tests.helpers.waits import until
from tests.helpers.workers import worker_pool


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a host that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=100)) as server:
        yield server.getsockname()[1]


def behind(silent: int, url: str, **more: str) -> str:
    """Return the address of a server as the second host."""
    given = conninfo_to_dict(url)
    hosts = {"host": f"127.0.0.1,{given['host']}", "port": f"{silent},{given['port']}"}
    return make_conninfo(url, **hosts, **more)


@pytest.fixture
def several(database: Database, silent: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The program's database with two hosts in its address, and the shortest time limit of libpq."""
    address = behind(silent, database.url, connect_timeout="2")
    monkeypatch.setenv("DATABASE_URL", address)
    monkeypatch.setenv("MIGRATION_DATABASE_URL", behind(silent, database.owner_url, connect_timeout="2"))
    settings.cache_clear()
    settings()  # read once, before threads do
    return address


def by_itself() -> object:
    """Open a single connection."""
    with doors.connect() as connection:
        return scalar(connection, "SELECT 1")


def from_a_pool() -> object:
    """Open a connection of a pool."""
    with closing(doors.pool()) as pool, pool.connection() as connection:
        return scalar(connection, "SELECT 1")


def listening() -> object:
    """Open a connection that listens for progress."""
    with doors.connect(autocommit=True) as listener:
        return next(listen(listener, timeout=0)) or 1


def of_the_doctor() -> object:
    """Open the doctor's two connections."""
    with check_context() as examined:
        return scalar(examined.service, "SELECT 1")


def of_the_migrator() -> object:
    """Open the migrator's connection, and the doctor's as the owner."""
    return (migrate.status().pending, drifts(doors.owner_url())) == ((), []) and 1


def of_liveness() -> object:
    """Open the session that shows that a worker is alive."""

    async def live() -> None:
        await (await Session.open()).close()

    asyncio.run(live())
    return 1


@pytest.mark.usefixtures("several")
def test_every_kind_of_connection_is_made_to_the_second_host() -> None:
    """Each waits for the first host at most for its limit."""
    kinds = [by_itself, from_a_pool, listening, of_the_doctor, of_the_migrator, of_liveness, drain]
    with ThreadPoolExecutor(len(kinds)) as threads:
        found = [one.result() for one in [threads.submit(kind) for kind in kinds]]
    assert found == [1, 1, 1, 1, 1, 1, None]


@pytest.mark.usefixtures("several")
def test_a_command_finds_the_second_host() -> None:
    """From the command line."""
    done = finished(*CLI, "queues", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_starts_on_the_second_host(
    database: Database, connection: Connection, silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With default limits, listening connections included."""
    monkeypatch.setenv("DATABASE_URL", behind(silent, database.url))
    listens = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN \"procrastinate%%'"
    with (
        psycopg.connect(database.superuser_url, autocommit=True) as admin,
        doors.connect(database.url, autocommit=True) as listener,
        worker_pool(tmp_path) as workers,
    ):
        worker = workers.work("-q", "events")
        until(listener, lambda: scalar(connection, "SELECT count(*) FROM engine.workers") == 1, limit=40)
        until(listener, lambda: scalar(admin, listens) > 0, limit=40)
        assert worker.process.poll() is None


def test_of_several_hosts_one_that_takes_writes_is_chosen(database: Database) -> None:
    """A standby is skipped, unless the address says otherwise. A single host is used as it is."""
    read_only = "ALTER DATABASE tallyman_test SET default_transaction_read_only = on"
    twice = make_conninfo(database.url, host=",".join([str(conninfo_to_dict(database.url)["host"])] * 2))
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(read_only)
        try:
            with pytest.raises(psycopg.OperationalError, match="read-only"):
                doors.connect(twice)
            doors.connect(make_conninfo(twice, target_session_attrs="any")).close()
            doors.connect(database.url).close()
        finally:
            owner.execute("SET default_transaction_read_only = off")
            owner.execute("ALTER DATABASE tallyman_test RESET default_transaction_read_only")


@pytest.mark.parametrize(
    ("address", "seconds"),
    [
        ("host=a", 6.0),
        ("host=a connect_timeout=7", 8.0),
        ("host=a connect_timeout=1", 3.0),
        ("host=a connect_timeout=0", 6.0),
        ("host=a,b", 7.0),
        ("host=a,b connect_timeout=10", 21.0),
        ("hostaddr=127.0.0.1,127.0.0.2,127.0.0.3", 10.0),
        ("postgresql://a,b,c/x", 10.0),
        ("dbname=x", 6.0),
    ],
)
def test_a_pool_waits_until_every_host_has_been_tried(address: str, seconds: float) -> None:
    """Each has its `connect_timeout`, at least two seconds."""
    assert doors.pool_timeout(address) == seconds
