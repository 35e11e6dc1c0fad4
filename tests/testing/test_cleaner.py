"""The cleaner between tests removes rows, sessions and statistics."""

from __future__ import annotations

import psycopg
import pytest

from app.context import Connection
from app.testing.cleaner import Cleaner
from tests.conftest import Database
from tests.helpers.factories import make_workspace
from tests.helpers.support import scalar

_MANY = "INSERT INTO tenancy.orgs (name) SELECT repeat('long', 100) FROM generate_series(1, 1000)"
_COUNTED = "SELECT count(*) FROM tenancy.orgs"
_KNOWN = "SELECT reltuples FROM pg_class WHERE oid = 'tenancy.orgs'::regclass"
_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def look(database: Database, query: str) -> object:
    """Return the single value of a query, as the superuser."""
    with psycopg.connect(database.superuser_url) as connection:
        return scalar(connection, query)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("analysed", [False, True])
def test_no_row_and_no_statistics_are_left(
    database: Database, connection: Connection, cleaner: Cleaner, *, many: bool, analysed: bool
) -> None:
    """Tables with few rows and with many, with and without statistics of the planner."""
    make_workspace(connection)
    if many:
        connection.execute(_MANY)
    if analysed:
        with psycopg.connect(database.superuser_url, autocommit=True) as owner:
            owner.execute("ANALYZE tenancy.orgs")
    cleaner.empty()
    assert look(database, _COUNTED) == 0
    assert look(database, "SELECT count(*) FROM tenancy.workspaces") == 0
    assert look(database, _KNOWN) == -1
    assert look(database, "SELECT count(*) > 0 FROM engine.schema_migrations")


def test_other_sessions_are_ended(connection: Connection, cleaner: Cleaner) -> None:
    """A worker of one test does not reach the next."""
    cleaner.empty()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def test_the_cleaner_reconnects_when_its_session_was_ended(
    database: Database, connection: Connection, cleaner: Cleaner
) -> None:
    """A test may end every session of the database."""
    cleaner.empty()
    with psycopg.connect(database.superuser_url, autocommit=True) as other:
        other.execute("INSERT INTO tenancy.orgs (name) VALUES ('x')")
        assert other.execute(_END_OTHERS).fetchall()
    cleaner.empty()
    assert look(database, _COUNTED) == 0
