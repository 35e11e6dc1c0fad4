"""Preflight: what a worker requires of the server and the schema before its first delivery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from app.context import Connection
from app.engine import domain
from app.engine.worker import preflight
from app.engine.worker.preflight import check, problems
from app.errors import SetupError
from app.postgres.embedded import Embedded
from app.settings import settings, using
from tests.conftest import Database
from tests.helpers.support import scalar
from tests.helpers.toy import Outside
from tests.helpers.waits import until


def test_a_worker_refuses_a_server_that_loses_commits_or_isolation(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`synchronous_commit` off, a superuser, a table without forced row-level security. `--unsafe` overrules all."""
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
    """The error names the command."""
    preflight.check_schema(connection)
    with psycopg.connect(server.superuser_url) as empty, pytest.raises(SetupError, match=r"cli\.py db migrate"):
        preflight.check_schema(empty)


@contextmanager
def switched_off(database: Database, setting: str) -> Iterator[None]:
    """Run the server with a setting off that protects commits."""
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
    """The error names the setting; `--unsafe` overrules it."""
    assert problems(connection) == []
    with switched_off(database, setting), psycopg.connect(database.url) as fresh:
        fresh.execute("SET ROLE service_role")
        with pytest.raises(SetupError, match=f"{setting} is off: a crash of the server loses commits"):
            check(fresh)
        with using(unsafe=True):
            check(fresh)


def test_a_missing_table_of_a_domain_is_named(connection: Connection, outside: Outside) -> None:
    """Tables that the wiring declares are required too."""
    preflight.check_schema(connection)
    with (
        domain.use(replace(outside.wiring(), tables=["tenancy.orgs", "toy.nowhere"])),
        pytest.raises(SetupError, match=r"\(toy.nowhere\): python cli.py db migrate"),
    ):
        preflight.check_schema(connection)
