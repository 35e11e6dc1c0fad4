"""Checkups of server and schema: each fault is brought about, found, and taken away again."""

from __future__ import annotations

import psycopg
import pytest

from app.engine.health.doctor import Limits
from app.engine.health.server import check_connections, check_settings, check_version
from app.settings import settings
from tests.conftest import Database
from tests.helpers.health_fixtures import fault, of
from tests.helpers.toy import Outside

SUITABLE = {"autovacuum": "on", "track_counts": "on", "max_connections": "100", "wal_level": "logical"}


@pytest.mark.parametrize(
    ("setting", "value", "level"),
    [
        ("autovacuum", "off", "problem"),
        ("track_counts", "off", "problem"),
        ("max_connections", "20", "warning"),
        ("wal_level", "replica", "info"),
    ],
)
def test_an_unsuitable_setting_is_found(setting: str, value: str, level: str) -> None:
    """By its name and value. A server with suitable settings has no finding."""
    assert list(check_settings(SUITABLE, Limits())) == []
    (found,) = check_settings({**SUITABLE, setting: value}, Limits())
    assert (found.level, found.what.partition(":")[0]) == (level, f"{setting} is {value}")
    assert setting in found.remedy


def test_an_old_server_and_many_connections_are_found() -> None:
    """PostgreSQL 15 is new enough; four fifths of the connections are still enough."""
    assert [list(check_version(version)) for version in (180006, 150000)] == [[], []]
    assert [one.level for one in check_version(140012)] == ["problem"]
    assert list(check_connections(80, 100)) == []
    assert [one.what for one in check_connections(81, 100)] == ["81 of 100 connections are in use"]


def test_a_server_that_loses_commits_is_a_problem(database: Database, outside: Outside, worker: int) -> None:
    """Also if the setting is of one database or one login."""
    on, off = (
        "ALTER DATABASE tallyman_test RESET synchronous_commit",
        "ALTER DATABASE tallyman_test SET synchronous_commit = off",
    )
    with fault(database.owner_url, off, on):
        assert of("safety") == [("problem", "synchronous_commit is off: a crash of the server loses commits")]


def test_a_table_that_is_open_to_all_tenants_is_a_problem(database: Database, outside: Outside, worker: int) -> None:
    """A table without forced row-level security is named."""
    table = "ALTER TABLE logistics.orders"
    with fault(database.owner_url, f"{table} NO FORCE ROW LEVEL SECURITY", f"{table} FORCE ROW LEVEL SECURITY"):
        ((level, what),) = of("safety")
    assert (level, "logistics.orders" in what) == ("problem", True)


def test_a_superusers_login_is_found(
    database: Database, outside: Outside, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers change its role; other holders of the address need not."""
    monkeypatch.setenv("DATABASE_URL", database.superuser_url)
    settings.cache_clear()
    assert of("safety") == [("warning", "login postgres is subject to no policy once it leaves service_role")]


def test_migrations_that_are_pending_edited_or_unknown_are_problems(
    database: Database, outside: Outside, worker: int
) -> None:
    """Each with the names of its files."""
    pending = "UPDATE engine.schema_migrations SET name = '9999_later.sql' WHERE name = '0005_progress.sql'"
    back = "UPDATE engine.schema_migrations SET name = '0005_progress.sql' WHERE name = '9999_later.sql'"
    with fault(database.superuser_url, pending, back):
        assert of("migrations") == [
            ("problem", "to be applied: 0005_progress.sql"),
            ("problem", "the database is ahead of this program, which does not know 9999_later.sql"),
        ]
    edited = "UPDATE engine.schema_migrations SET sha256 = 'x' || sha256 WHERE name = '0005_progress.sql'"
    restored = "UPDATE engine.schema_migrations SET sha256 = substr(sha256, 2) WHERE name = '0005_progress.sql'"
    with fault(database.superuser_url, edited, restored):
        assert of("migrations") == [("problem", "edited after they were applied: 0005_progress.sql")]


def test_a_login_that_may_not_compare_the_schema_is_an_info(
    database: Database, outside: Outside, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy names the setting."""
    monkeypatch.setenv("MIGRATION_DATABASE_URL", database.url)
    settings.cache_clear()
    ((level, what),) = of("queue schema")
    assert (level, "permission denied" in what) == ("info", True)


def test_a_long_transaction_is_found(database: Database, outside: Outside, worker: int) -> None:
    """With its pid. Sessions of other logins are hidden, which is an info."""
    with psycopg.connect(database.url) as idle, psycopg.connect(database.superuser_url) as hidden:
        for connection in (idle, hidden):
            connection.execute("SELECT 1")
        found = of("transactions", Limits(longest_transaction_s=0))
        pid = idle.info.backend_pid
        assert [level for level, what in found if f"pid {pid}, idle in transaction" in what] == ["warning"]
        assert [level for level, what in found if "sessions of other logins are hidden" in what] == ["info"]
        assert not [what for level, what in of("transactions") if level == "warning"]


def test_an_inactive_replication_slot_is_found(database: Database, outside: Outside, worker: int) -> None:
    """With its name and the size of the WAL that it keeps."""
    create = "SELECT pg_create_physical_replication_slot('forgotten', true)"
    with fault(database.superuser_url, create, "SELECT pg_drop_replication_slot('forgotten')"):
        found = of("transactions", Limits(most_kept_wal_bytes=-1))
    assert [level for level, what in found if "replication slot forgotten is inactive" in what] == ["warning"]
