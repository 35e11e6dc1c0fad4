"""Mutants of the database's own rules: policies, grants, constraints and functions, and of the migration runner."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_LOGISTICS = "migrations/0006_logistics.sql"
_WALLS = "tests/test_isolation.py tests/test_policies.py"
_RUNNER, _TEST_RUNNER = "app/schema/migrate.py", "tests/schema/test_migrate.py"

_TYPES, _TEST_TYPES = "migrations/0038_event_type_owners.sql", "tests/engine/test_event_types.py"
_PUBLISH, _TEST_PUBLISH = "migrations/0033_publish.sql", "tests/engine/queue/test_publish_sql.py"

MUTANTS = (
    Mutant(
        _TYPES,
        " AND excluded.definition <> ALL (t.replaced))",
        ")",
        _TEST_TYPES,
        "an older program's worker changes no route",
    ),
    Mutant(
        _TYPES,
        "AND (t.owner IN (SELECT d.owner FROM declared d)",
        "AND (true",
        _TEST_TYPES,
        "a deployment retires nothing of other domains",
    ),
    Mutant(
        _TYPES,
        "OR t.owner = split_part(t.type, '/', 1)",
        "OR false",
        _TEST_TYPES,
        "a deployment retires types that an earlier version registered under their first part",
    ),
    Mutant(
        _PUBLISH,
        "el.value -> 'type', el.value -> 'tenantid', el.value -> 'data') AS fact",
        "el.value -> 'type', el.value -> 'data') AS fact",
        _TEST_PUBLISH,
        "one id with another tenant is another event",
    ),
    Mutant(
        _LOGISTICS,
        "CREATE POLICY orders_member_select ON logistics.orders FOR SELECT TO authenticated\n"
        "    USING (tenancy.is_workspace_member(workspace_id));",
        "CREATE POLICY orders_member_select ON logistics.orders FOR SELECT TO authenticated\n    USING (true);",
        _WALLS,
        "a person sees the orders of their own workspaces",
    ),
    Mutant(
        _LOGISTICS,
        "                   WHERE j.id = job_id AND tenancy.is_workspace_member(j.workspace_id)));",
        "                   WHERE j.id = job_id));",
        _WALLS,
        "a person sees the items of their own workspaces",
        survives="the subquery is itself under the policy of robot_jobs, which shows the own jobs alone",
    ),
    Mutant(
        _LOGISTICS,
        "GRANT UPDATE (carrier, idempotency_key) ON logistics.robot_jobs TO authenticated;",
        "GRANT UPDATE ON logistics.robot_jobs TO authenticated;",
        _WALLS,
        "a person cannot write counters or status",
    ),
    Mutant(
        _LOGISTICS,
        "GRANT UPDATE (portal_username, portal_password, is_enabled) ON logistics.carrier_configs TO authenticated;",
        "GRANT UPDATE (portal_username, portal_password, is_enabled, portal_url) ON logistics.carrier_configs"
        " TO authenticated;",
        _WALLS,
        "a tenant does not choose which address workers call",
    ),
    Mutant(
        _LOGISTICS,
        "    USING (tenancy.is_workspace_admin(workspace_id)) WITH CHECK (tenancy.is_workspace_admin(workspace_id));\n",
        "    USING (tenancy.is_workspace_member(workspace_id))"
        " WITH CHECK (tenancy.is_workspace_member(workspace_id));\n",
        _WALLS,
        "only an admin changes an account with a carrier",
    ),
    Mutant(
        _LOGISTICS,
        "    FOR EACH ROW WHEN (OLD.job_id <> NEW.job_id OR OLD.order_id <> NEW.order_id)",
        "    FOR EACH ROW WHEN (OLD.job_id <> NEW.job_id)",
        "tests/logistics tests/test_policies.py tests/test_isolation.py",
        "an item's order never changes",
    ),
    Mutant(
        _RUNNER,
        "if hashes.get(name, sha256) != sha256),",
        "if False),",
        _TEST_RUNNER,
        "a file that was edited after it was applied is refused",
    ),
    Mutant(
        _RUNNER,
        "_wait_for_lock(connection)\n        if",
        "if",
        _TEST_RUNNER,
        "two migrators do not apply a file twice",
    ),
    Mutant(
        _RUNNER,
        "_refuse_strange_queue(connection, scripts)\n        for",
        "for",
        _TEST_RUNNER,
        "a queue that somebody else installed is not taken over",
    ),
    Mutant(
        "app/schema/scripts.py",
        'self.content.replace(b"\\r\\n", b"\\n")',
        "self.content",
        _TEST_RUNNER,
        "line ends are no edit",
    ),
    Mutant(
        "app/schema/scripts.py",
        "if wrong or len(set(numbers)) < len(numbers):",
        "if wrong:",
        _TEST_RUNNER,
        "two files with one number are refused",
    ),
    Mutant(
        "app/database.py",
        '"idle_in_transaction_session_timeout": "60s",',
        '"idle_in_transaction_session_timeout": "0",',
        "tests/test_limits.py",
        "a frozen worker's transaction is ended",
    ),
    Mutant(
        "app/database.py",
        "**{name: value for name, value in wanted.items() if name not in given})",
        "**{name: value for name, value in wanted.items() if False})",
        "tests/test_hosts.py",
        "a connection to a server that does not answer is given up",
    ),
)
