"""Doctor: each finding has a remedy, a checkup that fails is a finding, and a healthy system has none."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from app import database as doors
from app.context import Connection
from app.engine.health.doctor import check_context
from app.settings import settings
from tests.conftest import Database
from tests.helpers.health_fixtures import fault, findings, of
from tests.helpers.support import scalar
from tests.helpers.toy import Outside


def test_a_healthy_system_has_no_findings(connection: Connection, outside: Outside, worker: int) -> None:
    """One `ok` for each subject; an info if sessions of other logins are hidden."""
    found = findings()
    assert {one.level for one in found} <= {"ok", "info"}
    assert [one.subject for one in found if one.level == "info"] in ([], ["transactions"])


def test_the_doctor_leaves_nothing_behind(connection: Connection, outside: Outside, worker: int) -> None:
    """The schema that it created to compare with is gone."""
    findings()
    assert scalar(connection, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tallyman%%'") == 0


def test_a_database_without_our_schema_needs_a_migration(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkup that needs the schema is a finding with that remedy. None ends the examination."""
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


def test_a_locked_table_is_a_finding_and_the_rest_is_checked(database: Database, outside: Outside, worker: int) -> None:
    """The doctor waits at most two seconds for a lock."""
    with psycopg.connect(database.superuser_url) as locker:
        locker.execute("LOCK TABLE engine.failed_jobs")
        assert of("dead letters") == [("warning", "cannot check: canceling statement due to lock timeout")]


def test_the_doctor_uses_the_roles_of_a_worker(database: Database, outside: Outside) -> None:
    """One connection as `service_role`, and one as the login."""
    with check_context() as examined:
        assert scalar(examined.service, "SELECT current_user::text") == "service_role"
        assert scalar(examined.login, "SELECT current_user::text") == "tallyman"
        assert doors.SESSION["role"] == "service_role"
