"""Fixtures of the batch tests: offices that submit cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.context import Connection
from app.engine import batches, domain
from app.engine.domain import Wiring
from app.engine.inspect.invariants import audit
from tests.conftest import Database
from tests.helpers import cards
from tests.helpers.cards import PRINTS, Office, PrintShop
from tests.helpers.factories import make_workspace


@pytest.fixture
def shop(database: Database) -> PrintShop:
    """A print shop without prints."""
    cards.install(database)
    return PrintShop()


@pytest.fixture
def served(shop: PrintShop) -> Wiring:
    """The wiring of the card domain."""
    return batches.wiring(PRINTS, batches.effect(PRINTS, queue="prints", call=shop.print, find=shop.find))


@pytest.fixture
def office(connection: Connection, workspace: Any, served: Wiring) -> Iterator[Office]:
    """A workspace that submits cards. At the end every invariant holds."""
    with domain.use(served):
        yield Office(connection, workspace.id)
        assert [one.name for one in audit(connection, batches.invariants(PRINTS)) if not one.holds] == []


@pytest.fixture
def other(connection: Connection, office: Office) -> Office:
    """Another workspace of another organisation."""
    return Office(connection, make_workspace(connection).id)
