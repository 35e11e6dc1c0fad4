"""What the tests share: one embedded server a session, one migrated database, emptied after each test that used it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app import database as doors
from app import embedded, migrate
from app.context import Connection, Context
from app.embedded import Embedded
from app.settings import settings

os.environ.setdefault("TALLYMAN_LOG_LEVEL", "WARNING")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server of the tests' own; what it holds goes with it."""
    home = tmp_path_factory.mktemp("home")
    running = embedded.ensure_running(home)
    try:
        yield running
    finally:
        embedded.stop(home)


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database: `url` for workers and producers, `owner_url` and `superuser_url` for what tests arrange."""

    name: str
    url: str
    owner_url: str
    superuser_url: str


@pytest.fixture(scope="session")
def migrated(server: Embedded) -> Database:
    """The session's database, as migrations leave it."""
    name = "tallyman_test"
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE tallyman_test OWNER tallyman_owner")
    made = Database(
        name,
        make_conninfo(server.service_url, dbname=name),
        make_conninfo(server.owner_url, dbname=name),
        make_conninfo(server.superuser_url, dbname=name),
    )
    migrate.migrate(made.owner_url)
    return made


@pytest.fixture
def database(migrated: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    """The database that the program under test finds in its environment; empty at the start of each test."""
    environment = {
        "DATABASE_URL": migrated.url,
        "MIGRATION_DATABASE_URL": migrated.owner_url,
        "TALLYMAN_HOME": str(tmp_path),
        "TALLYMAN_KEYS": "test:" + base64.b64encode(bytes(range(32))).decode(),
        "TALLYMAN_RETRY_BASE": "0.05",
        "TALLYMAN_HEARTBEAT_INTERVAL": "0.5",
        "TALLYMAN_STALLED_AFTER": "2",
        "TALLYMAN_RESCUE_INTERVAL": "0.5",
        "TALLYMAN_POLLING_INTERVAL": "0.1",
        "TALLYMAN_GRACEFUL_TIMEOUT": "1.2",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield migrated
    settings.cache_clear()
    _empty(migrated)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A connection as service_role in autocommit mode: open a transaction where the code under test expects one."""
    with doors.connect(database.url, autocommit=True) as opened:
        yield opened


@pytest.fixture
def workspace(connection: Connection) -> Any:
    """A workspace of an organisation of its own."""
    from tests.factories import make_workspace  # noqa: PLC0415 - the factories import what the fixtures set up

    return make_workspace(connection)


@pytest.fixture
def context(connection: Connection, workspace: Any) -> Context:
    """A context on behalf of `workspace`."""
    return Context.start(connection, workspace.id)


_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
   AND c.relname <> 'schema_migrations'
"""


def _empty(database: Database) -> None:
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [database.name],
        )
        tables = [sql.Identifier(*row) for row in connection.execute(_TABLES)]
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)))
