"""Row policies of the engine's, queue's and accounts' tables: dropping one is noticed, and none grants too much.

The tables of people and workspaces are tested column by column in `tests/test_policies.py`, and a pool of one
connection with alternating tenants in `tests/test_isolation.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql

from app.context import Connection
from tests.conftest import Database

SCHEMAS = ["auth", "engine", "public"]
ROLES = ["service_role", "tallyman_owner", "authenticated", "anon"]

ROWS = {
    "auth.users": "DEFAULT VALUES",
    "engine.actions": "(at, actor, action) VALUES (now() - interval '2 years', 'ana', 'pause')",
    "engine.calls": "(call_key, event_id, row_id, attempts) VALUES (gen_random_uuid(), gen_random_uuid(), 1, 0)",
    "engine.event_log": "(event_id, type, version, data, occurred_at) VALUES (gen_random_uuid(), 'x', 1, '{}', now())",
    "engine.event_types": "(type, version, queue_name, priority, batch_size, is_effect, is_sequenced, owner,"
    " definition) VALUES (gen_random_uuid(), 1, 'x', 0, 1, false, false, 'x', 'x')",
    "engine.event_rescues": "(event_id, rescues) VALUES (gen_random_uuid(), 1)",
    "engine.failed_jobs": "(job_type, event_data, error_message, retry_count) VALUES ('x', '{}', 'x', 1)",
    "engine.parked": "(row_id, key) VALUES (floor(random() * 1e9), 'x')",
    "engine.delayed": "(due_at, queue_name, task_name, args) VALUES (now(), 'x', 'x', '{}')",
    "engine.paused_queues": "(queue_name, paused_by, reason) VALUES (gen_random_uuid(), 'ana', 'x')",
    "engine.replay_plan_letters": "(plan_id, letter_id, position, failed_at, class)"
    " VALUES (gen_random_uuid(), gen_random_uuid(), 1, now(), 'valid')",
    "engine.replay_plans": "(created_by) VALUES ('ana')",
    "engine.rescues": "(row_id, queue_name, attempts, reason) VALUES (1, 'x', 0, 'worker_gone')",
    "engine.rests": "(key, until, reason) VALUES (gen_random_uuid(), now(), 'x')",
    "engine.schema_migrations": "(name, sha256) VALUES (gen_random_uuid(), 'x')",
    "engine.sequence": "(event_id, type, subject_id) VALUES (gen_random_uuid(), 'x', gen_random_uuid())",
    "engine.slots": "(key, n, row_id, attempts) VALUES (gen_random_uuid(), 1, 1, 0)",
    "engine.tenant_weights": "(tenant_id, weight, set_by, reason) VALUES (gen_random_uuid(), 1, 'ana', 'x')",
    "engine.workers": "(worker_id, host, pid, version) VALUES (floor(random() * 1e9), 'x', 1, 'x')",
    "public.procrastinate_events": "(job_id, type) VALUES (1, 'started')",
    "public.procrastinate_jobs": "(queue_name, task_name) VALUES ('x', 'x')",
    "public.procrastinate_periodic_defers": "(task_name, defer_timestamp) VALUES ('x', floor(random() * 1e9))",
    "public.procrastinate_workers": "DEFAULT VALUES",
}
"""One more row of each table, as often as it is wanted."""

Reach = dict[tuple[str, str], str]
"""By role and verb: whether it works, finds nothing, or is refused."""

_INHERITED = """
SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text FROM pg_auth_members
 WHERE inherit_option AND roleid::regrole::text IN ('anon', 'authenticated', 'service_role')
"""


@pytest.fixture
def admin(database: Database) -> Iterator[Connection]:
    """A superuser in a transaction that is rolled back, with a row in every table.

    The tables' owner inherits nothing in it, and foreign keys are not checked: only policies matter.
    """
    with psycopg.connect(database.superuser_url) as connection:
        for role, member, grantor in connection.execute(_INHERITED).fetchall():
            names = (sql.Identifier(name) for name in (role, member, grantor))
            connection.execute(sql.SQL("GRANT {} TO {} WITH INHERIT FALSE GRANTED BY {}").format(*names))
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in ROWS:
            connection.execute(_insert(table))
        yield connection
        connection.rollback()


def reach(admin: Connection, table: str) -> Reach:
    """Return which statements each role can run on a table."""
    statements = {"select": f"SELECT FROM {table}".encode(), "insert": _insert(table)}
    return {(role, verb): _tried(admin, role, statement) for role in ROLES for verb, statement in statements.items()}


def _insert(table: str) -> bytes:
    return f"INSERT INTO {table} {ROWS[table]}".encode()


def _tried(admin: Connection, role: str, statement: bytes) -> str:
    try:
        with admin.transaction(force_rollback=True):
            admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            return "works" if admin.execute(statement).rowcount else "nothing"
    except errors.InsufficientPrivilege:
        return "refused"


def policies(admin: Connection) -> list[tuple[str, str]]:
    """Return every policy of these schemas with its table."""
    return admin.execute(
        "SELECT format('%%s.%%s', schemaname, tablename), policyname::text FROM pg_policies"
        " WHERE schemaname = ANY(%s) ORDER BY 1, 2",
        [SCHEMAS],
    ).fetchall()


def test_every_table_has_its_row_here(admin: Connection) -> None:
    """A new table of these schemas needs a row here, so that its policies are tested."""
    tables = admin.execute(
        "SELECT format('%%s.%%s', schemaname, tablename) FROM pg_tables WHERE schemaname = ANY(%s)", [SCHEMAS]
    ).fetchall()
    assert {table for (table,) in tables} == set(ROWS)


def test_workers_alone_reach_the_engines_tables(admin: Connection) -> None:
    """People and anonymous visitors have no access, and the owner only what migrations need."""
    for table in ROWS:
        found = reach(admin, table)
        is_of_migrations = table == "engine.schema_migrations"
        assert found["service_role", "select"] == "works", table
        assert found["service_role", "insert"] == ("refused" if is_of_migrations else "works"), table
        assert (found["tallyman_owner", "insert"] == "works") == is_of_migrations, table
        assert {found[role, verb] for role in ("authenticated", "anon") for verb in ("select", "insert")} == {"refused"}


def test_dropping_a_policy_reduces_access(admin: Connection) -> None:
    """Without any single policy, some role has less access to its table."""
    every = policies(admin)
    assert {table for table, _ in every} == set(ROWS)
    before = {table: reach(admin, table) for table in ROWS}
    unnoticed = []
    for table, policy in every:
        with admin.transaction(force_rollback=True):
            names = sql.Identifier(policy), sql.Identifier(*table.split("."))
            admin.execute(sql.SQL("DROP POLICY {} ON {}").format(*names))
            if reach(admin, table) == before[table]:
                unnoticed.append((table, policy))
    assert unnoticed == []
