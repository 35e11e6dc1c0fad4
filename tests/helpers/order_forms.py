"""Order forms as a robot enters them in a portal."""

from __future__ import annotations

from typing import Any

from app.logistics.gateway import OrderForm


def form(reference: str = "r1", **fields: Any) -> OrderForm:
    """Return an order form with this reference."""
    order = {
        "reference": reference,
        "recipient_name": "Ana Ruiz",
        "recipient_document": f"document of {reference}",
        "address": "Calle 1 # 2-3",
        "city": "BOGOTA (C/MARCA)",
        "units": 1,
        "weight_kg": 1.5,
        "declared_value_cents": 50_000_00,
        "collect_on_delivery_cents": 0,
    }
    return OrderForm.model_validate(order | fields)
