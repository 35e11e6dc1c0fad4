"""A workspace that can ship: an account with a simulated portal, two covered cities, and orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from app.context import Connection, Context
from app.logistics import carriers, coverage, orders
from app.logistics.coverage import CoverageRow
from app.logistics.orders import OrderRow
from app.simulators.portal import Portal


@dataclass(frozen=True, slots=True)
class Shop:
    """A workspace with an enabled carrier."""

    connection: Connection
    workspace_id: UUID

    @property
    def context(self) -> Context:
        """A context on behalf of the shop, now."""
        return Context.start(self.connection, self.workspace_id)

    def order(self, count: int, **fields: Any) -> Sequence[UUID]:
        """So many new orders, each for somebody else, with these fields."""
        numbers = range(first := self._used(), first + count)
        own = [{"reference": f"{n:05}", "recipient_document": f"{1_020_300_000 + n}"} for n in numbers]
        rows = [OrderRow(**{**ORDER, **one, **fields}) for one in own]
        return orders.import_orders(self.context, rows).order_ids

    def _used(self) -> int:
        row = self.connection.execute(
            "SELECT count(*) FROM logistics.orders WHERE workspace_id = %s", [self.workspace_id]
        ).fetchone()
        assert row is not None
        return int(row[0])


ORDER: dict[str, Any] = {
    "recipient_name": "Ana Pérez",
    "recipient_phone": "3001234567",
    "recipient_email": None,
    "address": "Calle 1 # 2-3",
    "city": "Bogotá",
    "department": "Cundinamarca",
    "units": 1,
    "weight_kg": "1.5",
    "declared_value_cents": 5_000_000,
    "collect_on_delivery_cents": 0,
}


def equip(connection: Connection, workspace_id: UUID, portal: Portal) -> Shop:
    """Give a workspace an account with the portal, and the carrier two cities."""
    shop = Shop(connection, workspace_id)
    context = shop.context
    carriers.set_carrier(
        context,
        "coordinadora",
        username="demo",
        password=SecretStr("demo-password"),
        portal_url=portal.url,
    )
    carriers.enable_carrier(context, "coordinadora")
    places = [("Bogotá", "Cundinamarca", "BOGOTA (C/MARCA)"), ("Medellín", "Antioquia", "MEDELLIN (ANT)")]
    coverage.import_coverage(
        connection,
        "coordinadora",
        [CoverageRow(city=city, department=department, carrier_city=name) for city, department, name in places],
    )
    return shop
