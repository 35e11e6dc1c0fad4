"""Events about a workspace's orders."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from events.base import Payload, event_type


@event_type("order/updated")
class OrderUpdated(Payload):
    """An order changed: each changed field with its value before and after."""

    order_id: UUID
    before: dict[str, Any]
    after: dict[str, Any]
