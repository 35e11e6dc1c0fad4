"""A server like Supabase's: `service_role` has BYPASSRLS, and the owner of the schema is no superuser.

Workers use `tallyman_worker` there, and tenants stay isolated.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from app import database as doors
from app.engine import domain
from app.engine.queue.publish import publish
from app.engine.worker.preflight import problems
from app.postgres import embedded
from app.settings import settings
from app.testing.database import Database, create
from tests.helpers import toy
from tests.helpers.factories import make_member, make_workspace
from tests.helpers.support import drain, scalar

WORKER = "tallyman_worker"


@pytest.fixture(scope="module")
def bypassing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A separate server, because roles belong to the whole server."""
    home = tmp_path_factory.mktemp("bypass")
    server = embedded.ensure_running(home)
    try:
        with psycopg.connect(server.superuser_url, autocommit=True) as admin:
            admin.execute("ALTER ROLE service_role BYPASSRLS")
        made = create(server)
        with psycopg.connect(made.owner_url, autocommit=True) as owner:
            owner.execute(f"GRANT {WORKER} TO tallyman")
        yield made
    finally:
        embedded.stop(home)


@pytest.fixture
def as_worker(bypassing: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The program with that database, as a member of `service_role`."""
    for name, value in bypassing.environment("/nonexistent").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TALLYMAN_SERVICE_ROLE", WORKER)
    settings.cache_clear()
    yield bypassing
    settings.cache_clear()


def test_a_worker_refuses_service_role_with_a_remedy(as_worker: Database) -> None:
    """With the remedy there is no problem."""
    address = doors.conninfo(role="service_role")
    with psycopg.connect(address) as bypassing:
        (problem,) = problems(bypassing)
    assert f"set TALLYMAN_SERVICE_ROLE={WORKER}" in problem
    with doors.connect() as connection:
        assert problems(connection) == []


def test_a_login_without_the_role_gets_the_statements(as_worker: Database) -> None:
    """That a superuser must run."""
    with psycopg.connect(as_worker.owner_url, autocommit=True) as admin:
        admin.execute(f"REVOKE {WORKER} FROM tallyman")
        try:
            with psycopg.connect(doors.conninfo(role="service_role")) as bypassing:
                (problem,) = problems(bypassing)
        finally:
            admin.execute(f"GRANT {WORKER} TO tallyman")
    assert f"GRANT service_role TO {WORKER}; GRANT {WORKER} TO tallyman" in problem


def test_the_role_has_the_grants_and_not_the_bypass(as_worker: Database) -> None:
    """On every table it has the grants of `service_role`, and is subject to row-level security."""
    tables = """
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND (n.nspname IN ('tenancy', 'logistics', 'engine', 'auth')
                                OR c.relname LIKE 'procrastinate%%')
    """
    differ = """
    SELECT v.verb FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS v (verb)
     WHERE has_table_privilege(%(worker)s, %(name)s, v.verb) <> has_table_privilege('service_role', %(name)s, v.verb)
    """
    with doors.connect() as connection:
        assert scalar(connection, "SELECT current_user::text") == WORKER
        names = [name for (name,) in connection.execute(tables)]
        assert len(names) > 20
        assert [name for name in names if not scalar(connection, "SELECT row_security_active(%s)", name)] == []
        for name in names:
            assert connection.execute(differ, {"worker": WORKER, "name": name}).fetchall() == [], name


def test_without_its_policy_a_table_shows_the_worker_nothing(as_worker: Database) -> None:
    """It sees rows by policies only."""
    with doors.connect(autocommit=True) as connection, psycopg.connect(as_worker.owner_url) as owner:
        make_workspace(connection)
        count = "SELECT count(*) FROM tenancy.workspaces"
        assert scalar(connection, count) > 0
        owner.execute("DROP POLICY workspaces_service ON tenancy.workspaces")
        owner.execute(f"SET LOCAL ROLE {WORKER}")
        assert scalar(owner, count) == 0
        owner.execute("SET LOCAL ROLE service_role")
        assert scalar(owner, count) > 0
        owner.rollback()


def test_people_see_their_own_tenant_alone(as_worker: Database) -> None:
    """A person's request changes the worker's role for one transaction."""
    with doors.connect(autocommit=True) as connection:
        mine, other = make_workspace(connection), make_workspace(connection)
        person = make_member(connection, mine)
        with doors.as_person(connection, person):
            assert connection.execute("SELECT id FROM tenancy.workspaces").fetchall() == [(mine.id,)]
        with doors.as_service(connection):
            assert scalar(connection, "SELECT count(*) FROM tenancy.workspaces WHERE id = %s", other.id) == 1
            assert scalar(connection, "SELECT current_user::text") == WORKER


def test_a_worker_delivers(as_worker: Database) -> None:
    """With Procrastinate's functions, from publish to ledger."""
    toy.install(as_worker)
    outside = toy.Outside()
    with doors.connect(autocommit=True) as connection, domain.use(outside.wiring()):
        publish(connection, toy.say("hello"))
        drain()
        assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1
