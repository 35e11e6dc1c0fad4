"""The migration runner: each file once, in order, and in one transaction."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app import children
from app import database as doors
from app.context import Connection
from app.errors import SetupError
from app.postgres.embedded import Embedded
from app.schema import migrate
from app.schema.scripts import Sources
from tests.helpers.children import child

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 30.0

MIGRATOR = """
import dataclasses, pathlib, sys
from app import children
from app.schema import migrate
from app.schema import scripts
directory = pathlib.Path(sys.argv[2])
migrate.migrate(sys.argv[1], dataclasses.replace(scripts.Sources.installed(), directory=directory))
"""

WAITS_FOR_A_LOCK = """
SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""
POLLS_FOR_THE_LOCK = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%'
"""


@pytest.fixture
def address(server: Embedded) -> Iterator[str]:
    """The URL of an empty database of this test, as its owner."""
    name = f"migrate_{uuid4().hex}"
    # Dropped by a superuser: FORCE is refused to anyone else while autovacuum, which runs as one, is in the database.
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER tallyman_owner").format(sql.Identifier(name)))
        yield make_conninfo(server.owner_url, dbname=name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def connection(address: str) -> Iterator[Connection]:
    """The owner's connection to that database."""
    with psycopg.connect(address, autocommit=True) as opened:
        yield opened


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """An empty directory of our files, and the installed Procrastinate's files."""
    installed = Sources.installed()
    (tmp_path / "migrations").mkdir()
    shutil.copytree(installed.queue_directory, tmp_path / "queue")
    return Sources(tmp_path / "migrations", tmp_path / "queue", installed.queue_version)


def _write(sources: Sources, **files: str) -> None:
    """Write files. `n0001_name` becomes `0001_name.sql`."""
    for name, text in files.items():
        (sources.directory / f"{name[1:]}.sql").write_text(text)


def _one(connection: Connection, question: str) -> object:
    row = connection.execute(question.encode()).fetchone()
    assert row
    return row[0]


def _until(connection: Connection, question: str, answer: object) -> None:
    """Query the database until it returns this value."""
    end = time.monotonic() + PATIENCE_S
    while _one(connection, question) != answer:
        assert time.monotonic() < end, f"{question} is never {answer}"


def test_files_are_applied_once_and_in_order(address: str, sources: Sources, connection: Connection) -> None:
    """Each sees the earlier ones. A second run does nothing, and a new file is applied alone."""
    _write(sources, n0002_fill="INSERT INTO things VALUES (1)", n0001_make="CREATE TABLE things (n int)")
    assert migrate.migrate(address, sources)[-2:] == ["0001_make.sql", "0002_fill.sql"]
    assert migrate.migrate(address, sources) == []
    _write(sources, n0003_more="INSERT INTO things VALUES (2); INSERT INTO things VALUES (3)")
    assert migrate.migrate(address, sources) == ["0003_more.sql"]
    assert _one(connection, "SELECT array_agg(n ORDER BY n) FROM things") == [1, 2, 3]


def test_a_percent_sign_is_a_percent_sign(address: str, sources: Sources, connection: Connection) -> None:
    """Files are sent without parameters."""
    _write(sources, n0001_percent="CREATE TABLE signs AS SELECT '100 %s of %% %(x)s'::text AS said")
    migrate.migrate(address, sources)
    assert _one(connection, "SELECT said FROM signs") == "100 %s of %% %(x)s"


def test_the_status_changes_nothing(address: str, sources: Sources, connection: Connection) -> None:
    """It lists all files for an empty database."""
    _write(sources, n0001_make="CREATE TABLE things ()")
    schema = f"procrastinate/{sources.queue_version}/schema.sql"
    assert migrate.pending(address, sources) == (schema, "0001_make.sql")
    assert _one(connection, "SELECT to_regnamespace('engine') IS NULL")
    migrate.migrate(address, sources)
    found = migrate.status(address, sources)
    assert {schema, "0001_make.sql"} <= set(found.applied)
    assert (found.pending, found.edited, found.unknown) == ((), (), ())


def test_an_edited_file_is_refused(address: str, sources: Sources, connection: Connection) -> None:
    """If an applied file differs, nothing is applied, and the error names it."""
    _write(sources, n0001_make="CREATE TABLE things ()")
    migrate.migrate(address, sources)
    _write(sources, n0001_make="CREATE TABLE things (n int)", n0002_more="CREATE TABLE more ()")
    assert migrate.status(address, sources).edited == ("0001_make.sql",)
    with pytest.raises(SetupError, match=r"edited after they were applied: 0001_make\.sql"):
        migrate.migrate(address, sources)
    assert _one(connection, "SELECT to_regclass('more') IS NULL")


def test_other_line_ends_are_no_edit(address: str, sources: Sources) -> None:
    """Git may change them on another system."""
    path = sources.directory / "0001_make.sql"
    path.write_bytes(b"CREATE TABLE things (\n  n int\n)")
    migrate.migrate(address, sources)
    path.write_bytes(b"CREATE TABLE things (\r\n  n int\r\n)")
    assert migrate.migrate(address, sources) == []


def test_a_database_that_is_ahead_is_refused(address: str, sources: Sources) -> None:
    """Older code applies nothing to a database with unknown files."""
    _write(sources, n0001_make="CREATE TABLE things ()", n0002_more="CREATE TABLE more ()")
    migrate.migrate(address, sources)
    (sources.directory / "0002_more.sql").unlink()
    assert migrate.status(address, sources).unknown == ("0002_more.sql",)
    with pytest.raises(SetupError, match=r"ahead: .* 0002_more\.sql"):
        migrate.migrate(address, sources)


@pytest.mark.parametrize("names", [("n0001_a", "n0001_b"), ("n1_short",), ("n0001_Large",)])
def test_an_unclear_order_is_refused(address: str, sources: Sources, names: tuple[str, ...]) -> None:
    """Two files with one number, or a name without one."""
    _write(sources, **dict.fromkeys(names, "SELECT 1"))
    with pytest.raises(SetupError, match="with a unique number"):
        migrate.migrate(address, sources)


def test_a_failing_file_leaves_nothing_of_itself(address: str, sources: Sources, connection: Connection) -> None:
    """It is rolled back, earlier files stay, and the error names file and line."""
    _write(
        sources,
        n0001_good="CREATE TABLE good ()",
        n0002_bad="CREATE TABLE half ();\nSELECT 1;\nSELEC 2",
        n0003_later="CREATE TABLE later ()",
    )
    with pytest.raises(SetupError, match=r"0002_bad\.sql, line 3, failed: syntax error"):
        migrate.migrate(address, sources)
    assert _one(connection, "SELECT to_regclass('good') IS NOT NULL AND to_regclass('half') IS NULL")
    assert migrate.pending(address, sources) == ("0002_bad.sql", "0003_later.sql")


def test_a_killed_migrator_leaves_nothing_half_done(address: str, sources: Sources, connection: Connection) -> None:
    """Neither a part of the file nor its lock: the next run applies it."""
    _write(sources, n0001_two="CREATE TABLE half (); SELECT pg_advisory_xact_lock(1); CREATE TABLE whole ()")
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        with child(sys.executable, "-c", MIGRATOR, address, str(sources.directory)) as migrator:
            _until(connection, WAITS_FOR_A_LOCK, 1)
            children.kill(migrator)
    assert migrate.migrate(address, sources) == ["0001_two.sql"]
    assert _one(connection, "SELECT to_regclass('whole') IS NOT NULL")


def test_two_migrators_at_once_apply_each_file_once(address: str, sources: Sources, connection: Connection) -> None:
    """The second one waits. Also with an empty database."""
    _write(sources, n0001_make="CREATE TABLE things (n int)", n0002_fill="INSERT INTO things VALUES (1)")
    barrier = Barrier(2)

    def run(_: int) -> list[str]:
        barrier.wait(PATIENCE_S)
        return migrate.migrate(address, sources)

    with ThreadPoolExecutor(2) as threads:
        applied = sorted(threads.map(run, range(2)), key=len)
    assert applied[0] == []
    assert applied[1][-2:] == ["0001_make.sql", "0002_fill.sql"]
    assert _one(connection, "SELECT count(*) FROM things") == 1


def test_a_waiting_migrator_holds_up_no_concurrent_index(
    address: str, sources: Sources, connection: Connection
) -> None:
    """CREATE INDEX CONCURRENTLY waits for open snapshots, so a waiting migrator must not have one."""
    _write(
        sources,
        n0001_make="CREATE TABLE things (n int)",
        n0002_index="-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS things_n_idx ON things (n)",
    )
    migrate.migrate(address, replace(sources, directory=_first_only(sources)))
    with ThreadPoolExecutor(2) as threads, psycopg.connect(address, autocommit=True) as observer:
        with connection.transaction():
            connection.execute("INSERT INTO things VALUES (1)")
            builder = threads.submit(migrate.migrate, address, sources)
            _until(observer, WAITS_FOR_A_LOCK, 1)
            waiter = threads.submit(migrate.migrate, address, sources)
            _until(observer, POLLS_FOR_THE_LOCK, 1)
        assert builder.result(PATIENCE_S) == ["0002_index.sql"]
        assert waiter.result(PATIENCE_S) == []
    assert _one(connection, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'things_n_idx'::regclass")


def _first_only(sources: Sources) -> Path:
    directory = sources.directory.parent / "first"
    directory.mkdir()
    shutil.copy(sources.directory / "0001_make.sql", directory)
    return directory


def test_the_queue_is_installed_once_and_upgraded_later(address: str, sources: Sources, connection: Connection) -> None:
    """Procrastinate's schema is recorded with its included upgrades. Only newer ones are applied."""
    assert migrate.migrate(address, sources) == [f"procrastinate/{sources.queue_version}/schema.sql"]
    assert _one(connection, "SELECT to_regclass('public.procrastinate_jobs') IS NOT NULL")
    newer = replace(sources, queue_version="99.0.0")
    (newer.queue_directory / "migrations" / "99.00.00_01_more.sql").write_text("CREATE TABLE procrastinate_more ()")
    assert migrate.migrate(address, newer) == ["procrastinate/99.00.00_01_more.sql"]
    assert migrate.migrate(address, newer) == []
    assert _one(connection, "SELECT to_regclass('public.procrastinate_more') IS NOT NULL")


def test_an_older_procrastinate_is_refused(address: str, sources: Sources) -> None:
    """The database is ahead of it."""
    newest = max((sources.queue_directory / "migrations").glob("*.sql"))
    migrate.migrate(address, sources)
    newest.unlink()
    with pytest.raises(SetupError, match=f"ahead: .* procrastinate/{newest.name}"):
        migrate.migrate(address, sources)


def test_a_queue_of_unknown_origin_is_refused(address: str, sources: Sources, connection: Connection) -> None:
    """Existing tables of Procrastinate without a record. The error has a remedy."""
    _write(sources, n0001_make="CREATE TABLE things ()")
    connection.execute("CREATE TABLE procrastinate_jobs ()")
    with pytest.raises(SetupError, match="use another database, or drop"):
        migrate.migrate(address, sources)
    assert _one(connection, "SELECT to_regclass('things') IS NULL")


def test_our_own_migrations_apply(address: str) -> None:
    """To an empty database. The service may only read the record."""
    assert "0001_roles.sql" in migrate.migrate(address)
    service = doors.conninfo(make_conninfo(address, user="tallyman"))
    assert migrate.pending(service) == ()
    with psycopg.connect(service) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM engine.schema_migrations")
