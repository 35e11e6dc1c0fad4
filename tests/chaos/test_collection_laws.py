"""The laws of collection's part of a run: books that are wrong are named, a late call is told apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from app.chaos.fault_context import Freeze
from app.chaos.report import Findings
from app.collection import page_ids
from app.collection.fixtures.chaos import World
from app.collection.fixtures.collector import equip
from app.context import Connection
from app.simulators.marketplace import Category, Marketplace
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.support import drain


@pytest.fixture
def world(connection: Connection, workspace: Workspace, marketplace: Marketplace) -> World:
    """An organisation whose only run has bought two pages."""
    collector = equip(connection, workspace.org_id, marketplace)
    collector.sells(books=Category(pages=2, items=2, price_cents=5))
    made = World(marketplace, [collector])
    made.made["monday"] = collector.create("books", idempotency_key="monday").id
    drain()
    assert len(marketplace.ledger.charges) == 2
    return made


@pytest.fixture
def overlooking(database: Database, world: World) -> Iterator[Connection]:
    """A connection that sees and may do everything."""
    with psycopg.connect(database.superuser_url, autocommit=True) as opened:
        yield opened


def broken(world: World, connection: Connection, *freezes: Freeze) -> set[str]:
    """The laws that are broken."""
    return {violation.law for violation in world.laws(connection, freezes).violations}


TAMPERED: dict[str, LiteralString] = {
    "a run ends, or waits for an operator": (
        "ALTER TABLE collection.collection_runs DISABLE TRIGGER USER;"
        " UPDATE collection.collection_runs SET status = 'running', completed_at = NULL;"
        " ALTER TABLE collection.collection_runs ENABLE TRIGGER USER"
    ),
    "the books of a run equal the marketplace's ledger": (
        "UPDATE collection.collection_runs SET actual_cost_cents = actual_cost_cents - 1"
    ),
    "only pages that exist are bought": (
        "SET session_replication_role = replica; DELETE FROM collection.collection_pages;"
        " SET session_replication_role = origin"
    ),
    "a created run exists, and no other": "UPDATE collection.collection_runs SET idempotency_key = 'tuesday'",
}


@pytest.mark.parametrize("law", TAMPERED)
def test_each_law_can_be_broken(world: World, overlooking: Connection, law: str) -> None:
    """A run that went well breaks none; tampered with, each is named."""
    assert world.laws(overlooking, []) == Findings()
    overlooking.execute(TAMPERED[law])
    assert law in broken(world, overlooking)


def test_a_page_that_is_bought_twice_is_found(world: World, overlooking: Connection) -> None:
    """Unless a frozen worker had the call of one of its attempts in hand: that is the known limit."""
    charges = world.market.ledger.charges
    charges.append(replace(charges[0]))
    assert broken(world, overlooking) == {"a page is charged once"}
    ((page_id,),) = overlooking.execute(
        "SELECT id FROM collection.collection_pages WHERE id::text = %s", [charges[0].form.reference]
    ).fetchall()
    ended = datetime.now(UTC)
    frozen = Freeze(4711, frozenset({page_ids.request_id(page_id, 0)}), ended - timedelta(seconds=4), ended)
    found = world.laws(overlooking, [frozen])
    assert (found.violations, len(found.known_limits)) == ([], 1)
    assert broken(world, overlooking, replace(frozen, calls=frozenset({uuid4()}))) == {"a page is charged once"}
