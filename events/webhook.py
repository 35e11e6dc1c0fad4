"""Events about outgoing webhooks: one event of a tenant for one endpoint."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from events.base import Payload, event_type


@event_type("webhook/delivery.requested")
class DeliveryRequested(Payload):
    """A delivery is to be sent to its endpoint."""

    delivery_id: UUID
    endpoint_id: UUID


@event_type("webhook/delivery.completed")
class DeliveryCompleted(Payload):
    """The endpoint accepted a delivery. `answer`: the first characters of its answer."""

    delivery_id: UUID
    endpoint_id: UUID
    status: Annotated[int, Field(ge=200, le=299)]
    answer: Annotated[str, StringConstraints(max_length=1000)] = ""
