"""Temporary database of a benchmark, on the server in use, dropped at the end.

A killed run leaves its database behind. The next run drops it: every run keeps a connection to its database, so a
database without connections is unused.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app import database
from app.context import Connection
from app.postgres import embedded
from app.schema import migrate
from app.settings import settings, using
from app.wiring import sources

_PREFIX = "tallyman_bench_"
_LEFT_BEHIND = """
SELECT datname FROM pg_database d
 WHERE starts_with(datname, %s) AND pg_has_role(datdba, 'MEMBER')
   AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
"""


@dataclass(frozen=True, slots=True)
class TemporaryDatabase:
    """A temporary database: `url` for workers and producers, `owner_url` for the benchmark's setup.

    `superuser_url` is set only on the embedded server.
    """

    name: str
    url: str
    owner_url: str
    superuser_url: str | None = None

    def connect(self) -> Connection:
        """Open a connection as `service_role` in autocommit mode. The caller closes it."""
        return database.connect(self.url, autocommit=True)

    def arrange(self, *statements: sql.SQL | sql.Composed) -> None:
        """Run statements as the tables' owner, each in a separate transaction."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def analyze(self) -> None:
        """Update the planner's statistics of all tables."""
        self.arrange(sql.SQL("ANALYZE"))

    def checkpoint(self) -> None:
        """Run CHECKPOINT on the embedded server. Does nothing on another server."""
        if self.superuser_url:
            with psycopg.connect(self.superuser_url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")

    def environment(self) -> dict[str, str]:
        """Return the environment for a process that uses this database."""
        return {**os.environ, "DATABASE_URL": self.url, "MIGRATION_DATABASE_URL": self.owner_url}


@contextmanager
def temporary_database() -> Iterator[TemporaryDatabase]:
    """Create a migrated database that the whole program uses during the block.

    The login of `MIGRATION_DATABASE_URL` must be allowed to create databases. The configured database is not changed,
    but its server shares the load.
    """
    owner, service = database.owner_url(), database.url()
    name = f"{_PREFIX}{secrets.token_hex(6)}"
    with psycopg.connect(owner, autocommit=True) as keeper:
        _drop_left_behind(keeper)
        keeper.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        superuser = None if settings().database_url else embedded.ensure_running().superuser_url
        made = TemporaryDatabase(
            name, make_conninfo(service, dbname=name), make_conninfo(owner, dbname=name), superuser
        )
        try:
            with (
                psycopg.connect(made.owner_url, autocommit=True),
                using(DATABASE_URL=made.url, MIGRATION_DATABASE_URL=made.owner_url),
            ):
                migrate.migrate(made.owner_url, sources())
                yield made
        finally:
            _drop(keeper, name)


def _drop_left_behind(keeper: psycopg.Connection[tuple[object, ...]]) -> None:
    for (name,) in keeper.execute(_LEFT_BEHIND, [_PREFIX]).fetchall():
        _drop(keeper, str(name))


def _drop(keeper: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    # Without FORCE: the owner may not end the sessions of the service's login. The server waits 5 s for them.
    keeper.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
