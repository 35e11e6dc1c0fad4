"""Isolation: tables, roles and functions in the catalogue, and connections of a pool."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus
from pydantic import SecretStr

from app import database as doors
from app.context import Connection, Context
from app.database import as_person, as_visitor
from app.logistics import carriers
from app.program import WIRING
from tests.conftest import Database
from tests.helpers.factories import Workspace, make_member, make_workspace

OURS = [*WIRING.schemas, "engine", "auth"]
SCHEMAS = [*OURS, "public"]


@pytest.fixture
def catalogue(database: Database) -> Iterator[Connection]:
    """A superuser's connection, which sees the whole catalogue."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        yield connection


def names(catalogue: Connection, statement: str, *parameters: object) -> list[str]:
    """Return the names that a query finds."""
    return [name for (name,) in catalogue.execute(statement, parameters)]


TABLES = """
SELECT format('%%s.%%s', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY(%s)
"""


def test_the_queries_find_the_tables_of_every_schema(catalogue: Connection) -> None:
    """A query without rows would prove nothing."""
    found = names(catalogue, TABLES, SCHEMAS)
    assert {name.split(".")[0] for name in found} == set(SCHEMAS)
    assert {"engine.schema_migrations", "public.procrastinate_jobs", "logistics.robot_job_items"} < set(found)


def test_every_table_has_forced_row_level_security(catalogue: Connection) -> None:
    """Also for the owner. A view uses the rights of its caller."""
    assert names(catalogue, f"{TABLES} AND NOT (c.relrowsecurity AND c.relforcerowsecurity)", SCHEMAS) == []
    views = """
    SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('v', 'm') AND n.nspname = ANY(%s)
       AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false)
    """
    assert names(catalogue, views, OURS) == []


def test_every_table_of_ours_has_a_comment(catalogue: Connection) -> None:
    """It describes the table."""
    assert names(catalogue, f"{TABLES} AND obj_description(c.oid, 'pg_class') IS NULL", OURS) == []


def test_functions_with_their_owners_rights_pin_the_search_path(catalogue: Connection) -> None:
    """Otherwise the caller decides which objects they use."""
    definers = """
    SELECT oid::regprocedure::text FROM pg_proc
     WHERE prosecdef AND pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
    """
    assert len(names(catalogue, definers)) == 6
    unpinned = f"{definers} AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c LIKE 'search_path=%%')"
    assert names(catalogue, unpinned) == []


def test_no_role_at_run_time_is_above_the_policies(catalogue: Connection) -> None:
    """Neither the three roles, nor their logins, nor the owner of the tables."""
    logins = ["anon", "authenticated", "service_role", "tallyman", "tallyman_owner"]
    roles = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s)"
    assert len(names(catalogue, roles, logins)) == len(logins)
    assert names(catalogue, f"{roles} AND (rolsuper OR rolbypassrls)", logins) == []
    three = (
        "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) AND (rolcanlogin OR rolcreaterole OR rolcreatedb)"
    )
    assert names(catalogue, three, logins[:3]) == []


def test_every_foreign_key_has_an_index(catalogue: Connection) -> None:
    """One that begins with its columns."""
    without = """
    SELECT format('%%s %%s', k.conrelid::regclass, k.conname) FROM pg_constraint k
     WHERE k.contype = 'f' AND k.connamespace::regnamespace::text = ANY(%s)
       AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
                          AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] = k.conkey)
    """
    assert names(catalogue, without, OURS) == []


def test_every_column_that_a_policy_reads_begins_an_index(catalogue: Connection) -> None:
    """A policy runs for every row."""
    without = """
    SELECT DISTINCT format('%%s.%%s: %%s', p.polrelid::regclass, a.attname, p.polname)
      FROM pg_policy p
      JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid AND d.refobjsubid > 0
      JOIN pg_attribute a ON a.attrelid = p.polrelid AND a.attnum = d.refobjsubid
     WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = p.polrelid AND i.indkey[0] = a.attnum)
    """
    assert names(catalogue, without) == []
    read = "SELECT count(*) FROM pg_depend WHERE classid = 'pg_policy'::regclass AND refobjsubid > 0"
    assert catalogue.execute(read).fetchone() != (0,)


def test_no_index_is_redundant(catalogue: Connection) -> None:
    """Neither equal columns, nor the beginning of another index."""
    redundant = """
    SELECT format('%%s begins %%s', a.indexrelid::regclass, b.indexrelid::regclass)
      FROM pg_index a JOIN pg_index b ON a.indrelid = b.indrelid AND a.indexrelid <> b.indexrelid
      JOIN pg_class ac ON ac.oid = a.indexrelid JOIN pg_class bc ON bc.oid = b.indexrelid AND bc.relam = ac.relam
     WHERE ac.relnamespace::regnamespace::text = ANY(%s) AND a.indexprs IS NULL AND b.indexprs IS NULL
       AND a.indpred::text IS NOT DISTINCT FROM b.indpred::text
       AND (b.indkey::int2[])[0:a.indnatts - 1] = (a.indkey::int2[])[0:]
       AND (NOT a.indisunique OR (b.indisunique AND a.indnatts = b.indnatts))
    """
    assert names(catalogue, redundant, OURS) == []


VERBS = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_people_have_no_grant_on_the_engine_and_the_queue(catalogue: Connection, role: str) -> None:
    """On no table, column, sequence, function or schema."""
    granted = """
    SELECT format('%%s %%s', c.oid::regclass, verb) FROM pg_class c, unnest(%s::text[]) AS verb
     WHERE c.relkind IN ('r', 'p') AND has_table_privilege(%s, c.oid, verb)
       AND (c.relnamespace::regnamespace::text = 'engine' OR c.relname LIKE 'procrastinate\\_%%')
    """
    assert names(catalogue, granted, VERBS, role) == []
    columns = """
    SELECT c.relname::text FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS verb
     WHERE c.relkind IN ('r', 'p') AND has_any_column_privilege(%s, c.oid, verb)
       AND (c.relnamespace::regnamespace::text = 'engine' OR c.relname LIKE 'procrastinate\\_%%')
    """
    assert names(catalogue, columns, role) == []
    sequences = """
    SELECT sequencename::text FROM pg_sequences
     WHERE schemaname = ANY(%s)
       AND has_sequence_privilege(%s, format('%%I.%%I', schemaname, sequencename), 'USAGE, SELECT')
    """
    assert names(catalogue, sequences, SCHEMAS, role) == []
    functions = """
    SELECT p.oid::regprocedure::text FROM pg_proc p
     WHERE p.pronamespace::regnamespace::text = 'engine' AND has_function_privilege(%s, p.oid, 'EXECUTE')
    """
    assert names(catalogue, functions, role) == []
    assert catalogue.execute("SELECT has_schema_privilege(%s, 'engine', 'USAGE')", [role]).fetchone() == (False,)


def test_a_person_cannot_put_anything_into_the_queue(database: Database, connection: Connection) -> None:
    """Procrastinate's functions use the rights of their caller."""
    person = make_member(connection, make_workspace(connection), "admin")
    defer = """
    SELECT public.procrastinate_defer_jobs_v1(ARRAY[
        row('events', 'consume', 0, NULL, NULL, '{}', NULL)::public.procrastinate_job_to_defer_v1])
    """
    with pytest.raises(errors.InsufficientPrivilege), as_person(connection, person):
        connection.execute(defer)
    with pytest.raises(errors.InsufficientPrivilege), as_visitor(connection):
        connection.execute(defer)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT portal_password FROM logistics.carrier_configs",
        "SELECT * FROM logistics.carrier_configs",
        "SELECT count(*) FROM logistics.carrier_configs WHERE portal_password LIKE 'sealed:%'",
        "SELECT c::text FROM logistics.carrier_configs c",
        "UPDATE logistics.carrier_configs SET portal_password = 'sealed:x' RETURNING portal_password",
        "UPDATE logistics.carrier_configs SET portal_username = portal_password",
        "UPDATE logistics.carrier_configs SET portal_url = 'http://169.254.169.254/'",
        "UPDATE logistics.carrier_configs SET max_sessions = 100",
        "UPDATE logistics.carrier_configs SET workspace_id = gen_random_uuid()",
        "INSERT INTO logistics.carrier_configs (workspace_id, carrier, portal_url) VALUES (gen_random_uuid(), 'x', 'http://x')",
        "COPY logistics.carrier_configs TO STDOUT",
    ],
)
def test_no_person_can_read_a_password_or_set_the_portals_address(
    context: Context, workspace: Workspace, statement: str
) -> None:
    """`authenticated` has no privilege on the columns."""
    carriers.set_carrier(context, "dhl", username="bot", password=SecretStr("x"), portal_url="https://dhl.example.org")
    admin = make_member(context.connection, workspace, "admin")
    with pytest.raises(errors.InsufficientPrivilege), as_person(context.connection, admin):
        context.connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE logistics.robot_jobs SET success_count = 1",
        "UPDATE logistics.robot_jobs SET status = 'completed', completed_at = now()",
        "UPDATE logistics.robot_jobs SET generation = 2",
        "UPDATE logistics.robot_jobs SET workspace_id = gen_random_uuid()",
        "INSERT INTO logistics.robot_jobs (workspace_id, total_items) VALUES (gen_random_uuid(), 1)",
        "UPDATE logistics.robot_job_items SET status = 'success', tracking_number = '7'",
        "UPDATE logistics.orders SET tracking_number = '7'",
    ],
)
def test_no_person_can_write_counters_and_results(connection: Connection, workspace: Workspace, statement: str) -> None:
    """An admin can read them."""
    admin = make_member(connection, workspace, "admin")
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied"), as_person(connection, admin):
        connection.execute(statement)


def test_an_admin_sets_credentials_and_a_member_does_not(context: Context, workspace: Workspace) -> None:
    """With the function that operators use."""
    carriers.set_carrier(context, "dhl", username="bot", portal_url="https://dhl.example.org")
    admin, member = (make_member(context.connection, workspace, role) for role in ("admin", "member"))
    with as_person(context.connection, admin):
        shown = carriers.set_carrier(context, "dhl", username="new", password=SecretStr("secret"))
    assert (shown.portal_username, shown.has_password) == ("new", True)
    with pytest.raises(errors.InsufficientPrivilege), as_person(context.connection, admin):
        carriers.set_carrier(context, "dhl", portal_url="https://elsewhere.example.org")
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), as_person(context.connection, member):
        carriers.set_carrier(context, "dhl", username="mine")
    assert carriers.show_carrier(context, "dhl").portal_username == "new"


TENANTS = 20
TURNS = 1000


def test_a_pooled_connection_keeps_no_tenant(database: Database, connection: Connection) -> None:
    """A thousand alternating people on one connection, every third with an error: no foreign row."""
    people: dict[UUID, UUID] = {}
    for _ in range(TENANTS):
        workspace = make_workspace(connection)
        people[make_member(connection, workspace)] = workspace.id
        carriers.set_carrier(Context.start(connection, workspace.id), "dhl", username="bot")
    dice = random.Random(1)
    with doors.pool(min_size=1, max_size=1, address=database.url) as pool:
        for turn in range(TURNS):
            person = dice.choice(list(people))
            with (
                pool.connection() as pooled,
                suppress(ZeroDivisionError, errors.DivisionByZero),
                as_person(pooled, person),
            ):
                seen = pooled.execute("SELECT workspace_id FROM logistics.carrier_configs").fetchall()
                assert seen == [(people[person],)]
                if turn % 3 == 0:
                    pooled.execute("SELECT 1 / 0") if turn % 2 else dice.randrange(1) / 0
            with pool.connection() as pooled:
                assert pooled.info.transaction_status == TransactionStatus.IDLE
                after = "SELECT current_user, nullif(current_setting('request.jwt.claims', true), '')"
                assert pooled.execute(after).fetchone() == ("service_role", None)
