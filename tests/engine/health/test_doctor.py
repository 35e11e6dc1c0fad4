"""Doctor: whatever is wrong is found, told with what to do about it, and nothing else is.

Each test brings one fault about and takes it away again; what cannot be brought about on a test's server is judged
from what such a server would say.
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from app import database as doors
from app.context import Connection
from app.engine.health.doctor import Limits, check_context
from app.engine.health.server import check_connections, check_settings, check_version
from app.settings import settings
from tests.conftest import Database
from tests.helpers.health_fixtures import enlist, fault, findings, of
from tests.helpers.support import scalar
from tests.helpers.toy import Outside


@pytest.fixture
def worker(connection: Connection) -> int:
    """A worker that serves every queue and lives for longer than the test."""
    return enlist(connection)


def test_a_system_that_is_well_has_nothing_to_be_told(connection: Connection, outside: Outside, worker: int) -> None:
    """One line a subject, all of them fine; at most it cannot see the sessions of others."""
    found = findings()
    assert {one.level for one in found} <= {"ok", "info"}
    assert [one.subject for one in found if one.level == "info"] in ([], ["transactions"])


def test_the_doctor_leaves_nothing_behind(connection: Connection, outside: Outside, worker: int) -> None:
    """The schema that it laid out to compare is gone."""
    findings()
    assert scalar(connection, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tallyman%%'") == 0


# The server ---------------------------------------------------------------------------------------

WELL = {"autovacuum": "on", "track_counts": "on", "max_connections": "100", "wal_level": "logical"}


@pytest.mark.parametrize(
    ("setting", "value", "level"),
    [
        ("autovacuum", "off", "problem"),
        ("track_counts", "off", "problem"),
        ("max_connections", "20", "warning"),
        ("wal_level", "replica", "info"),
    ],
)
def test_a_setting_that_stands_in_the_way_is_told(setting: str, value: str, level: str) -> None:
    """By its name and value; a server that is well set has no finding."""
    assert list(check_settings(WELL, Limits())) == []
    (found,) = check_settings({**WELL, setting: value}, Limits())
    assert (found.level, found.what.partition(":")[0]) == (level, f"{setting} is {value}")
    assert setting in found.remedy


def test_an_old_server_and_a_crowded_one_are_told() -> None:
    """PostgreSQL 15 is new enough; four fifths of the connections are still enough."""
    assert [list(check_version(version)) for version in (180006, 150000)] == [[], []]
    assert [one.level for one in check_version(140012)] == ["problem"]
    assert list(check_connections(80, 100)) == []
    assert [one.what for one in check_connections(81, 100)] == ["81 of 100 connections are in use"]


def test_a_server_that_loses_commits_is_a_problem(database: Database, outside: Outside, worker: int) -> None:
    """Also when it is one database, or one login, for which somebody traded durability for speed."""
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


def test_a_login_that_can_do_anything_is_told(
    database: Database, outside: Outside, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers put it aside for a role; a holder of the address need not."""
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


def test_a_database_without_our_schema_is_told_what_it_lacks(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every checkup that needs the schema says so, and none of them ends the examination."""
    with fault(database.superuser_url, "CREATE DATABASE empty_test OWNER tallyman_owner", "DROP DATABASE empty_test"):
        monkeypatch.setenv("DATABASE_URL", make_conninfo(database.url, dbname="empty_test"))
        monkeypatch.setenv("MIGRATION_DATABASE_URL", make_conninfo(database.owner_url, dbname="empty_test"))
        settings.cache_clear()
        found = {one.subject: one for one in findings() if one.level == "problem"}
    assert found["migrations"].what.startswith("to be applied: ")
    assert found["queue schema"].what.startswith("not as the installed package has it: ")
    assert {found[subject].remedy for subject in ("workers", "queues", "dead letters", "passwords")} == {
        "run `db migrate`"
    }


INDEX = "procrastinate_jobs_queue_name_idx_v1"
TRIGGER = "procrastinate_jobs_notify_queue_job_inserted_v1"


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (
            f"DROP INDEX public.{INDEX}",
            f"CREATE INDEX {INDEX} ON public.procrastinate_jobs (queue_name)",
            ("problem", f"index {INDEX} is missing"),
        ),
        (
            "CREATE INDEX mine ON public.procrastinate_jobs (task_name)",
            "DROP INDEX public.mine",
            ("warning", "index mine is added"),
        ),
        (
            f"ALTER TABLE public.procrastinate_jobs DISABLE TRIGGER {TRIGGER}",
            f"ALTER TABLE public.procrastinate_jobs ENABLE TRIGGER {TRIGGER}",
            ("problem", f"trigger procrastinate_jobs.{TRIGGER} is changed"),
        ),
        (
            "ALTER TABLE public.procrastinate_jobs ALTER priority SET DEFAULT 5",
            "ALTER TABLE public.procrastinate_jobs ALTER priority SET DEFAULT 0",
            ("problem", "column procrastinate_jobs.priority is changed"),
        ),
    ],
    ids=["missing", "added", "switched off", "changed"],
)
def test_a_queue_schema_that_is_not_the_packages_is_told(
    database: Database, outside: Outside, worker: int, begin: str, end: str, expected: tuple[str, str]
) -> None:
    """Object by object: what is missing or changed is a problem, what somebody added a warning."""
    with fault(database.owner_url, begin, end):
        ((level, what),) = of("queue schema")
    assert (level, what.partition(": ")[2]) == expected


def test_a_queue_function_of_another_version_is_told(database: Database, outside: Outside, worker: int) -> None:
    """By its name and arguments: what it does is in its source."""
    with psycopg.connect(database.owner_url) as owner:
        name = "procrastinate_unregister_worker_v1(worker_id bigint)"
        definition = scalar(owner, "SELECT pg_get_functiondef('procrastinate_unregister_worker_v1'::regproc)")
    with fault(database.owner_url, definition.replace("DELETE", "DELETE /* later */"), definition):
        assert of("queue schema") == [("problem", f"not as the installed package has it: function {name} is changed")]


def test_a_login_that_may_not_compare_is_told_what_it_needs(
    database: Database, outside: Outside, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no problem of the system."""
    monkeypatch.setenv("MIGRATION_DATABASE_URL", database.url)
    settings.cache_clear()
    ((level, what),) = of("queue schema")
    assert (level, "permission denied" in what) == ("info", True)


def test_a_transaction_that_stays_open_is_told(database: Database, outside: Outside, worker: int) -> None:
    """With the process to end; one of another login cannot be seen, and that is told too."""
    with psycopg.connect(database.url) as idle, psycopg.connect(database.superuser_url) as hidden:
        for connection in (idle, hidden):
            connection.execute("SELECT 1")
        found = of("transactions", Limits(longest_transaction_s=0))
        pid = idle.info.backend_pid
        assert [level for level, what in found if f"pid {pid}, idle in transaction" in what] == ["warning"]
        assert [level for level, what in found if "sessions of other logins are hidden" in what] == ["info"]
        assert not [what for level, what in of("transactions") if level == "warning"]


def test_a_slot_that_nobody_reads_is_told(database: Database, outside: Outside, worker: int) -> None:
    """With its name and what it keeps."""
    create = "SELECT pg_create_physical_replication_slot('forgotten', true)"
    with fault(database.superuser_url, create, "SELECT pg_drop_replication_slot('forgotten')"):
        found = of("transactions", Limits(most_kept_wal_bytes=-1))
    assert [level for level, what in found if "replication slot forgotten is inactive" in what] == ["warning"]


def test_what_is_locked_is_told_and_the_rest_examined(database: Database, outside: Outside, worker: int) -> None:
    """The doctor waits for nobody longer than two seconds."""
    with psycopg.connect(database.superuser_url) as locker:
        locker.execute("LOCK TABLE engine.failed_jobs")
        assert of("dead letters") == [("warning", "cannot check: canceling statement due to lock timeout")]


def test_the_doctors_connections_are_not_those_of_a_superuser(database: Database, outside: Outside) -> None:
    """It sees what a worker sees: as `service_role`, and as the login alone."""
    with check_context() as examined:
        assert scalar(examined.service, "SELECT current_user::text") == "service_role"
        assert scalar(examined.login, "SELECT current_user::text") == "tallyman"
        assert doors.SESSION["role"] == "service_role"
