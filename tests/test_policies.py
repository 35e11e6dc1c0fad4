"""Policies: for every table, verb and actor, the number of rows of the own and another tenant.

The domains' fixtures have the tables and the expected numbers. Dropping any policy must change one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import errors, sql

from app.context import Connection
from app.engine.registration import Domain
from app.testing import isolation
from app.testing.isolation import OTHER, OWN, act_for, found, matrix, without_expectation
from app.wiring import DOMAINS
from tests.conftest import Database


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    """A superuser's connection in a transaction with two tenants, which is rolled back."""
    with isolation.tenants(database.superuser_url, DOMAINS) as connection:
        yield connection


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_the_matrix_names_every_table(owner: Connection, domain: Domain) -> None:
    """A domain's fixtures have the expected rows for each table and actor."""
    assert without_expectation(owner, domain) == []


def test_a_table_without_expectations_is_named(owner: Connection) -> None:
    """With the missing verbs."""
    (domain,) = (replace(one, fixtures=None) for one in DOMAINS if one.name == "tenancy")
    assert "tenancy.workspaces select" in without_expectation(owner, domain)
    assert len(without_expectation(owner, domain)) == 16


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_each_actor_reaches_the_expected_rows(owner: Connection, domain: Domain) -> None:
    """Of the own and another tenant, with and without membership, signed in and not."""
    wrong = {cell: is_ for cell in matrix(domain) if (is_ := found(owner, cell)) != cell.expected}
    assert wrong == {}


def test_dropping_any_policy_changes_the_matrix(owner: Connection) -> None:
    """At least one field."""
    all_of_them = isolation.policies(owner, DOMAINS)
    assert len(all_of_them) > 20
    unnoticed = [(table, policy) for table, policy in all_of_them if not _is_noticed(owner, table, policy)]
    assert unnoticed == []


def _is_noticed(owner: Connection, table: str, policy: str) -> bool:
    cells = [cell for domain in DOMAINS for cell in matrix(domain)]
    own_table_first = sorted(cells, key=lambda cell: cell.table != table)
    with owner.transaction(force_rollback=True):
        owner.execute(sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy), sql.Identifier(*table.split("."))))
        return any(found(owner, cell) != cell.expected for cell in own_table_first)


@pytest.mark.parametrize(("actor", "text"), [move for domain in DOMAINS for move in isolation.moves(domain)])
def test_nothing_is_moved_into_another_tenant(owner: Connection, actor: str, text: str) -> None:
    """A person cannot give a row to another tenant. Not even a worker can give an item another tenant's order."""
    refusals = (errors.InsufficientPrivilege, errors.ForeignKeyViolation, errors.RestrictViolation)
    with owner.transaction(force_rollback=True):
        act_for(owner, actor)
        with pytest.raises(refusals):
            owner.execute(text.format(own=f"{OWN}1", other=f"{OTHER}1").encode())
