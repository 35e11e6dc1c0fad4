"""Orders: types, and validation of their fields. No database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import InvalidInput
from app.logistics.fields import OptionalEmail, OptionalWord, Phrase, Word, explain

OrderStatus = Literal["pending", "shipped", "cancelled"]

_Cents = Field(default=0, ge=0, le=10**15)


class OrderRow(BaseModel):
    """An order as a shop imports it. Amounts are in cents, the weight in kilograms."""

    model_config = ConfigDict(extra="forbid")

    reference: Word
    recipient_name: Phrase
    recipient_document: OptionalWord = None
    recipient_phone: OptionalWord = None
    recipient_email: OptionalEmail = None
    address: Phrase
    city: Word
    department: OptionalWord = None
    units: int = Field(default=1, gt=0, le=1_000_000)
    weight_kg: Decimal = Field(default=Decimal(1), gt=0, max_digits=10, decimal_places=3)
    declared_value_cents: int = _Cents
    collect_on_delivery_cents: int = _Cents


class _Draft(OrderRow):
    """The fields of an order that can be changed. Each field is validated when it is set."""

    model_config = ConfigDict(validate_assignment=True)

    tracking_number: OptionalWord = None
    status: OrderStatus = "pending"


CHANGEABLE = tuple(name for name in _Draft.model_fields if name != "reference")
"""The fields of an order that can be changed: all except the shop's reference."""


@dataclass(frozen=True, slots=True)
class Order:
    """A stored order. Amounts are in cents, the weight in kilograms."""

    id: UUID
    workspace_id: UUID
    reference: str
    recipient_name: str
    recipient_document: str | None
    recipient_phone: str | None
    recipient_email: str | None
    address: str
    city: str
    department: str | None
    units: int
    weight_kg: Decimal
    declared_value_cents: int
    collect_on_delivery_cents: int
    tracking_number: str | None
    status: OrderStatus
    created_at: datetime
    updated_at: datetime


ORDER_COLUMNS = ", ".join(f"o.{one.name}" for one in fields(Order))
"""The columns of `logistics.orders o` that a query selects for an `Order`."""


def checked(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Validate new values for fields of an order. Returns them in their stored form.

    Raises `InvalidInput`, which lists every field that cannot be changed or has an invalid value.
    """
    problems = [f"{name}: cannot be changed; {', '.join(CHANGEABLE)} can" for name in wanted if name not in CHANGEABLE]
    draft = _Draft.model_construct()
    for name, value in wanted.items():
        try:
            if name in CHANGEABLE:
                setattr(draft, name, value)
        except ValidationError as error:
            problems.append(explain(error))
    if problems:
        raise InvalidInput("; ".join(problems))
    return {name: getattr(draft, name) for name in wanted}


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of an order as JSON types."""
    # A weight has at most ten digits, so a float represents it exactly enough to be read back unchanged.
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in values.items()}
