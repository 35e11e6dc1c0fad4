"""A customer who calls the simulated marketplace over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.simulators.marketplace import Marketplace
from tests.helpers.customers import Customer


@pytest.fixture
async def customer(marketplace: Marketplace) -> AsyncIterator[Customer]:
    """A customer with a valid key."""
    async with Customer(marketplace.url) as customer:
        yield customer
