"""Policies: for every table, verb and actor, how many rows of its own tenant and of another one it reaches.

Everything happens as the tests' superuser in one transaction that is rolled back; each statement takes its actor's
role, and is undone. So a policy can be dropped, to see whether anybody notices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import errors, sql

from app.context import Connection
from tests.conftest import Database

OWN, OTHER = "aaaaaaaa-0000-4000-8000-00000000000%d", "bbbbbbbb-0000-4000-8000-00000000000%d"
"""Ids of our tenant's rows and of the other's; the digit says which."""

SEED = """
INSERT INTO auth.users (id) VALUES ('{t}1'), ('{t}2'), ('{t}3');
INSERT INTO tenancy.orgs (id, name) VALUES ('{t}1', 'org');
INSERT INTO tenancy.org_members VALUES ('{t}1', '{t}1', 'admin'), ('{t}1', '{t}2', 'member');
INSERT INTO tenancy.workspaces (id, org_id, name) VALUES ('{t}1', '{t}1', 'workspace');
INSERT INTO tenancy.workspace_members VALUES ('{t}1', '{t}1', 'admin'), ('{t}1', '{t}2', 'member');
INSERT INTO logistics.carrier_configs (id, workspace_id, carrier) VALUES ('{t}1', '{t}1', 'dhl');
INSERT INTO logistics.carrier_coverage (id, carrier, city, department, carrier_city) VALUES
    ('{t}1', '{t}', 'Cali', 'Valle', 'CALI');
INSERT INTO logistics.orders (id, workspace_id, reference, recipient_name, address, city) VALUES
    ('{t}1', '{t}1', '1', 'Ana', 'Calle 1', 'Cali'), ('{t}2', '{t}1', '2', 'Eva', 'Calle 2', 'Cali');
INSERT INTO logistics.robot_jobs (id, workspace_id, total_items) VALUES ('{t}1', '{t}1', 1);
INSERT INTO logistics.robot_job_items (id, job_id, order_id) VALUES ('{t}1', '{t}1', '{t}1');
"""
"""A tenant: an admin (1), a member (2) and somebody without membership (3); one row of most things, two orders."""


@dataclass(frozen=True, slots=True)
class Table:
    """How to insert one more row, where a tenant's rows are, and what may be updated."""

    insert: str
    where: str
    column: str


TABLES = {
    "tenancy.orgs": Table("(id, name) VALUES ('{t}9', 'new')", "id = '{t}1'", "name"),
    "tenancy.org_members": Table("(org_id, user_id) VALUES ('{t}1', '{t}3')", "org_id = '{t}1'", "role"),
    "tenancy.workspaces": Table("(org_id, name) VALUES ('{t}1', 'new')", "id = '{t}1'", "name"),
    "tenancy.workspace_members": Table(
        "(workspace_id, user_id) VALUES ('{t}1', '{t}3')", "workspace_id = '{t}1'", "role"
    ),
    "logistics.carrier_configs": Table(
        "(workspace_id, carrier) VALUES ('{t}1', 'ups')", "workspace_id = '{t}1'", "is_enabled"
    ),
    "logistics.carrier_coverage": Table(
        "(carrier, city, department, carrier_city) VALUES ('{t}', 'Buga', 'Valle', 'BUGA')",
        "carrier = '{t}'",
        "is_active",
    ),
    "logistics.orders": Table(
        "(workspace_id, reference, recipient_name, address, city) VALUES ('{t}1', '3', 'Leo', 'Calle 3', 'Cali')",
        "workspace_id = '{t}1'",
        "status",
    ),
    "logistics.robot_jobs": Table("(workspace_id) VALUES ('{t}1')", "workspace_id = '{t}1'", "carrier"),
    "logistics.robot_job_items": Table("(job_id, order_id) VALUES ('{t}1', '{t}2')", "job_id = '{t}1'", "status"),
}

ACTORS: dict[str, tuple[str, str | None]] = {
    "service": ("service_role", None),
    "admin": ("authenticated", OWN % 1),
    "member": ("authenticated", OWN % 2),
    "stranger": ("authenticated", OWN % 3),
    "nobody": ("authenticated", None),
    "visitor": ("anon", None),
}
"""Roles, and for whom they speak."""

EXPECTED = """
                             verb    service  admin  member  stranger  nobody  visitor
tenancy.orgs                 select  1/1      1/0    1/0     0/0       0/0     -/-
tenancy.orgs                 insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.orgs                 update  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.orgs                 delete  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.org_members          select  2/2      2/0    2/0     0/0       0/0     -/-
tenancy.org_members          insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.org_members          update  2/2      -/-    -/-     -/-       -/-     -/-
tenancy.org_members          delete  2/2      -/-    -/-     -/-       -/-     -/-
tenancy.workspaces           select  1/1      1/0    1/0     0/0       0/0     -/-
tenancy.workspaces           insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspaces           update  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspaces           delete  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspace_members    select  2/2      2/0    2/0     0/0       0/0     -/-
tenancy.workspace_members    insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspace_members    update  2/2      -/-    -/-     -/-       -/-     -/-
tenancy.workspace_members    delete  2/2      -/-    -/-     -/-       -/-     -/-
logistics.carrier_configs    select  1/1      1/0    1/0     0/0       0/0     -/-
logistics.carrier_configs    insert  1/1      1/-    -/-     -/-       -/-     -/-
logistics.carrier_configs    update  1/1      1/0    0/0     0/0       0/0     -/-
logistics.carrier_configs    delete  1/1      1/0    0/0     0/0       0/0     -/-
logistics.carrier_coverage   select  1/1      1/1    1/1     1/1       1/1     -/-
logistics.carrier_coverage   insert  1/1      -/-    -/-     -/-       -/-     -/-
logistics.carrier_coverage   update  1/1      -/-    -/-     -/-       -/-     -/-
logistics.carrier_coverage   delete  1/1      -/-    -/-     -/-       -/-     -/-
logistics.orders             select  2/2      2/0    2/0     0/0       0/0     -/-
logistics.orders             insert  1/1      -/-    -/-     -/-       -/-     -/-
logistics.orders             update  2/2      -/-    -/-     -/-       -/-     -/-
logistics.orders             delete  k/k      -/-    -/-     -/-       -/-     -/-
logistics.robot_jobs         select  1/1      1/0    1/0     0/0       0/0     -/-
logistics.robot_jobs         insert  1/1      1/-    1/-     -/-       -/-     -/-
logistics.robot_jobs         update  1/1      1/0    1/0     0/0       0/0     -/-
logistics.robot_jobs         delete  1/1      -/-    -/-     -/-       -/-     -/-
logistics.robot_job_items    select  1/1      1/0    1/0     0/0       0/0     -/-
logistics.robot_job_items    insert  1/1      -/-    -/-     -/-       -/-     -/-
logistics.robot_job_items    update  1/1      -/-    -/-     -/-       -/-     -/-
logistics.robot_job_items    delete  k/k      -/-    -/-     -/-       -/-     -/-
"""
"""Rows of our own tenant / of the other one; `-` where the very statement is refused."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the matrix."""

    table: str
    verb: str
    actor: str
    expected: str


def matrix() -> list[Cell]:
    """Every field of `EXPECTED`."""
    (_, *actors), *lines = [line.split() for line in EXPECTED.strip().splitlines()]
    assert actors == list(ACTORS)
    return [
        Cell(table, verb, actor, expected)
        for table, verb, *row in lines
        for actor, expected in zip(actors, row, strict=True)
    ]


def statement(table: str, verb: str, tenant: str) -> str:
    """What is tried."""
    it = TABLES[table]
    text = {
        "select": f"SELECT {it.column} FROM {table} WHERE {it.where}",  # noqa: S608 - texts of our own
        "insert": f"INSERT INTO {table} {it.insert}",
        "update": f"UPDATE {table} SET {it.column} = {it.column} WHERE {it.where}",  # noqa: S608
        "delete": f"DELETE FROM {table} WHERE {it.where}",  # noqa: S608
    }[verb]
    return text.replace("{t}", tenant)


_INHERITED = """
SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text FROM pg_auth_members
 WHERE inherit_option AND roleid::regrole::text IN ('anon', 'authenticated', 'service_role')
"""


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    """A superuser's connection inside a transaction with two tenants, of which nothing stays.

    The tables' owner inherits nothing from the roles there: what a policy is meant to give must come from it.
    """
    with psycopg.connect(database.superuser_url) as connection:
        for role, member, grantor in connection.execute(_INHERITED).fetchall():
            names = (sql.Identifier(name) for name in (role, member, grantor))
            connection.execute(sql.SQL("GRANT {} TO {} WITH INHERIT FALSE GRANTED BY {}").format(*names))
        for tenant in (OWN, OTHER):
            connection.execute(SEED.replace("{t}", tenant[:-2]))
        yield connection
        connection.rollback()


def speak(owner: Connection, actor: str) -> None:
    """Be an actor until the transaction ends."""
    role, person = ACTORS[actor]
    claims = f'{{"sub": "{person}"}}' if person else ""
    owner.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
    owner.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))


def tried(owner: Connection, actor: str, text: str) -> str:
    """How many rows an actor's statement reaches; it is undone."""
    try:
        with owner.transaction(force_rollback=True):
            speak(owner, actor)
            return str(owner.execute(text).rowcount)
    except errors.InsufficientPrivilege:
        return "-"
    except errors.RestrictViolation:
        return "k"  # reached, and kept: a job counts it


def found(owner: Connection, cell: Cell) -> str:
    """What a field of the matrix is now."""
    return "/".join(tried(owner, cell.actor, statement(cell.table, cell.verb, tenant[:-2])) for tenant in (OWN, OTHER))


def policies(owner: Connection) -> list[tuple[str, str]]:
    """Every policy of the two schemas, with its table."""
    return owner.execute(
        "SELECT format('%s.%s', schemaname, tablename), policyname::text FROM pg_policies"
        " WHERE schemaname IN ('tenancy', 'logistics') ORDER BY 1, 2"
    ).fetchall()


def test_the_matrix_names_every_table(owner: Connection) -> None:
    """A new table of the two schemas has to say who reaches what of it."""
    tables = owner.execute(
        "SELECT format('%s.%s', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('tenancy', 'logistics')"
    ).fetchall()
    wanted = {(table, verb) for (table,) in tables for verb in ("select", "insert", "update", "delete")}
    assert {(cell.table, cell.verb) for cell in matrix()} == wanted


def test_everybody_reaches_what_the_matrix_says_and_nothing_else(owner: Connection) -> None:
    """Own tenant and other tenant, with membership and without, signed in and not."""
    wrong = {cell: is_ for cell in matrix() if (is_ := found(owner, cell)) != cell.expected}
    assert wrong == {}


def test_no_policy_can_go_unnoticed(owner: Connection) -> None:
    """Without any single one of them, some field of the matrix is another."""
    all_of_them = policies(owner)
    assert len(all_of_them) > 20
    unnoticed = [(table, policy) for table, policy in all_of_them if not _is_noticed(owner, table, policy)]
    assert unnoticed == []


def _is_noticed(owner: Connection, table: str, policy: str) -> bool:
    own_table_first = sorted(matrix(), key=lambda cell: cell.table != table)
    with owner.transaction(force_rollback=True):
        owner.execute(sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy), sql.Identifier(*table.split("."))))
        return any(found(owner, cell) != cell.expected for cell in own_table_first)


ELSEWHERE = [
    ("admin", "UPDATE logistics.robot_jobs SET workspace_id = '{other}' WHERE id = '{own}'"),
    *(
        (actor, text)
        for actor in ("admin", "service")
        for text in (
            "INSERT INTO logistics.robot_job_items (job_id, order_id) VALUES ('{own}', '{other}')",
            "UPDATE logistics.robot_job_items SET order_id = '{other}' WHERE id = '{own}'",
            "UPDATE logistics.robot_job_items SET job_id = '{other}' WHERE id = '{own}'",
        )
    ),
]


@pytest.mark.parametrize(("actor", "text"), ELSEWHERE)
def test_nothing_is_moved_into_another_tenant(owner: Connection, actor: str, text: str) -> None:
    """A person cannot give a row away or tie it to another's; not even a worker can tie an item to a foreign order."""
    refusals = (errors.InsufficientPrivilege, errors.ForeignKeyViolation, errors.RestrictViolation)
    with owner.transaction(force_rollback=True):
        speak(owner, actor)
        with pytest.raises(refusals):
            owner.execute(text.format(own=OWN % 1, other=OTHER % 1))
