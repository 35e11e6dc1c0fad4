"""Orders for tests, and the `order/updated` events in the queue."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.context import Connection, Context
from app.logistics.orders import OrderRow, import_orders


def row(reference: str, **fields: Any) -> OrderRow:
    """Return an order as a shop imports it."""
    return OrderRow(**{"recipient_name": "Ana", "address": "Calle 1", "city": "Cali", "reference": reference, **fields})


def make(context: Context, count: int) -> list[UUID]:
    """Import orders. Returns their ids."""
    return import_orders(context, [row(f"R-{n}") for n in range(count)]).order_ids


def said(connection: Connection) -> list[dict[str, Any]]:
    """Return the data of the waiting `order/updated` events, oldest first."""
    rows = connection.execute("SELECT args FROM public.procrastinate_jobs ORDER BY id").fetchall()
    found = [event for (args,) in rows for event in args.get("events", [args])]
    return [event["data"] for event in found if event["type"] == "order/updated"]
