"""The database of a test session: created once, emptied by a `Cleaner` after each test that used it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app.postgres.embedded import Embedded
from app.schema import migrate
from app.wiring import sources

_NAME = "tallyman_test"


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database: `url` for workers and producers, `owner_url` and `superuser_url` for test setup."""

    name: str
    url: str
    owner_url: str
    superuser_url: str

    def environment(self, home: str) -> dict[str, str]:
        """Return environment variables: this database, `home` as TALLYMAN_HOME, and short intervals for tests."""
        return {
            "DATABASE_URL": self.url,
            "MIGRATION_DATABASE_URL": self.owner_url,
            "TALLYMAN_HOME": home,
            "TALLYMAN_KEYS": "test:" + base64.b64encode(bytes(range(32))).decode(),
            "TALLYMAN_RETRY_BASE": "0.05",
            "TALLYMAN_HEARTBEAT_INTERVAL": "0.5",
            "TALLYMAN_STALLED_AFTER": "3",
            "TALLYMAN_RESCUE_INTERVAL": "0.5",
            "TALLYMAN_SWEEP_INTERVAL": "0.5",
            "TALLYMAN_POLLING_INTERVAL": "0.1",
            "TALLYMAN_GRACEFUL_TIMEOUT": "2.4",
        }


def create(server: Embedded) -> Database:
    """Create and migrate the database. The server must not have one with this name."""
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER tallyman_owner").format(sql.Identifier(_NAME)))
    urls = (server.service_url, server.owner_url, server.superuser_url)
    made = Database(_NAME, *(make_conninfo(url, dbname=_NAME) for url in urls))
    migrate.migrate(made.owner_url, sources())
    return made
