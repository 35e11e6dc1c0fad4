"""The isolation matrix: for every table, verb and actor, how many rows of its own and of another tenant it reaches.

The tables and expectations come from the domains' fixtures (`app.fixtures.Isolation`). All statements run as a
superuser in one transaction that is rolled back. Each takes its actor's role and is undone, so a policy can be dropped
to check that the matrix notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import errors, sql

from app.context import Connection
from app.engine.registration import Domain
from app.fixtures import Isolation, Rows
from app.loading import fixtures

OWN, OTHER = "aaaaaaaa-0000-4000-8000-00000000000", "bbbbbbbb-0000-4000-8000-00000000000"
"""Ids of a tenant's rows and of another tenant's, without their last digit."""
ACTORS: dict[str, tuple[str, str | None]] = {
    "service": ("service_role", None),
    "admin": ("authenticated", f"{OWN}1"),
    "member": ("authenticated", f"{OWN}2"),
    "nonmember": ("authenticated", f"{OWN}3"),
    "no_user": ("authenticated", None),
    "visitor": ("anon", None),
}
"""Roles, and the user that each acts for: an admin and a member of the tenant, a user of no tenant, no user."""
VERBS = ("select", "insert", "update", "delete")

_TABLES = "SELECT format('%%s.%%s', schemaname, tablename) FROM pg_tables WHERE schemaname = ANY(%s) ORDER BY 1"
_POLICIES = """
SELECT format('%%s.%%s', schemaname, tablename), policyname::text FROM pg_policies
 WHERE schemaname = ANY(%s) ORDER BY 1, 2
"""
_INHERITED = """
SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text FROM pg_auth_members
 WHERE inherit_option AND roleid::regrole::text IN ('anon', 'authenticated', 'service_role')
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the matrix. `rows`: how to reach the table. `expected`: rows of the own tenant / of another one."""

    table: str
    rows: Rows
    verb: str
    actor: str
    expected: str


def matrix(domain: Domain) -> list[Cell]:
    """Return every field of a domain's matrix. Raises `ValueError` for a wrong heading or an unknown table."""
    isolation = fixtures(domain).isolation
    return list(_cells(domain.name, isolation)) if isolation else []


def without_expectation(connection: Connection, domain: Domain) -> list[str]:
    """Return "table verb" for each table of the domain's schemas and verb that the matrix does not have, sorted."""
    tables = [table for (table,) in connection.execute(_TABLES, [list(domain.schemas)])]
    known = {(cell.table, cell.verb) for cell in matrix(domain)}
    return [f"{table} {verb}" for table in tables for verb in VERBS if (table, verb) not in known]


@contextmanager
def tenants(superuser_url: str, domains: Sequence[Domain]) -> Iterator[Connection]:
    """Yield a superuser's connection in a transaction with two tenants. It is rolled back at the end.

    The tables' owner inherits no role there: a right that a policy or grant must give comes from nowhere else.
    """
    with psycopg.connect(superuser_url) as connection:
        for role, member, grantor in connection.execute(_INHERITED).fetchall():
            names = (sql.Identifier(name) for name in (role, member, grantor))
            connection.execute(sql.SQL("GRANT {} TO {} WITH INHERIT FALSE GRANTED BY {}").format(*names))
        for tenant in (OWN, OTHER):
            for isolation in (fixtures(domain).isolation for domain in domains):
                if isolation is not None:
                    connection.execute(isolation.seed.replace("{t}", tenant).encode())
        yield connection
        connection.rollback()


def found(connection: Connection, cell: Cell) -> str:
    """Return the current value of a field of the matrix. `connection`: of `tenants`."""
    reached = (_rows_reached(connection, cell.actor, _statement(cell, tenant)) for tenant in (OWN, OTHER))
    return "/".join(reached)


def act_for(connection: Connection, actor: str) -> None:
    """Take an actor's role until the transaction or savepoint ends."""
    role, person = ACTORS[actor]
    claims = f'{{"sub": "{person}"}}' if person else ""
    connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))


def policies(connection: Connection, domains: Sequence[Domain]) -> list[tuple[str, str]]:
    """Return every policy of the domains' schemas, with its table."""
    schemas = [schema for domain in domains for schema in domain.schemas]
    return [(table, policy) for table, policy in connection.execute(_POLICIES, [schemas])]


def moves(domain: Domain) -> list[tuple[str, LiteralString]]:
    """Return the statements, by actor, that would move a row of the domain into another tenant."""
    isolation = fixtures(domain).isolation
    return list(isolation.moves) if isolation else []


def _cells(domain: str, isolation: Isolation) -> Iterator[Cell]:
    (_, *actors), *lines = [line.split() for line in isolation.expected.strip().splitlines()]
    if actors != list(ACTORS):
        raise ValueError(f"domain {domain}: the heading of the isolation matrix must be: verb {' '.join(ACTORS)}")
    for table, verb, *values in lines:
        rows = next((rows for name, rows in isolation.tables.items() if name == table), None)
        if rows is None:
            raise ValueError(f"domain {domain}: the isolation matrix names {table}, which `tables` does not have")
        for actor, expected in zip(actors, values, strict=True):
            yield Cell(table, rows, verb, actor, expected)


def _statement(cell: Cell, tenant: str) -> str:
    rows, table = cell.rows, cell.table
    text = {
        "select": f"SELECT {rows.column} FROM {table} WHERE {rows.where}",  # noqa: S608 - a domain's own texts
        "insert": f"INSERT INTO {table} {rows.insert}",
        "update": f"UPDATE {table} SET {rows.column} = {rows.column} WHERE {rows.where}",  # noqa: S608 - the same
        "delete": f"DELETE FROM {table} WHERE {rows.where}",  # noqa: S608 - the same
    }[cell.verb]
    return text.replace("{t}", tenant)


def _rows_reached(connection: Connection, actor: str, statement: str) -> str:
    """Return the number of rows that an actor's statement reaches, and undo it. `-`: refused, `k`: rows are kept."""
    try:
        with connection.transaction(force_rollback=True):
            act_for(connection, actor)
            return str(connection.execute(statement.encode()).rowcount)
    except errors.InsufficientPrivilege:
        return "-"
    except errors.RestrictViolation:
        return "k"
