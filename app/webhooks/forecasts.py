"""Forecast the outcome of replaying dead letters of webhooks, for replay plans. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import Forecast
from events import Event
from events.webhook import DeliveryCompleted, DeliveryRequested


@dataclass(frozen=True, slots=True)
class _Found:
    id: UUID
    tenant_id: UUID
    endpoint_id: UUID
    status: str
    is_enabled: bool


_FIND = """
SELECT d.id, d.tenant_id, d.endpoint_id, d.status, e.is_enabled
  FROM webhooks.deliveries d JOIN webhooks.endpoints e ON e.id = d.endpoint_id WHERE d.id = ANY(%s)
"""


def requests(connection: Connection, requested: Sequence[Event[DeliveryRequested]]) -> dict[UUID, Forecast]:
    """Return the forecast of sending deliveries again, by event id. A disabled endpoint gets none."""
    found = _found(connection, requested)
    return {event.id: _forecast(event, found.get(event.data.delivery_id), sends=True) for event in requested}


def results(connection: Connection, completed: Sequence[Event[DeliveryCompleted]]) -> dict[UUID, Forecast]:
    """Return the forecast of recording accepted deliveries, by event id."""
    found = _found(connection, completed)
    return {event.id: _forecast(event, found.get(event.data.delivery_id), sends=False) for event in completed}


def _forecast(event: Event[Any], delivery: _Found | None, *, sends: bool) -> Forecast:
    if delivery is None or (delivery.tenant_id, delivery.endpoint_id) != (event.tenantid, event.data.endpoint_id):
        return Forecast(blocked="the delivery is gone, or not of that endpoint of this tenant: it would die again")
    if delivery.status in {"delivered", "discarded"}:
        return Forecast(idle=f"the delivery is {delivery.status}")
    if sends and not delivery.is_enabled:
        return Forecast(blocked=f"endpoint {delivery.endpoint_id} is disabled: `webhooks enable` it first")
    return Forecast(items=frozenset({delivery.id}))


def _found(connection: Connection, said: Sequence[Event[Any]]) -> dict[UUID, _Found]:
    cursor = connection.cursor(row_factory=class_row(_Found))
    return {one.id: one for one in cursor.execute(_FIND, [[event.data.delivery_id for event in said]])}
