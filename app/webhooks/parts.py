"""The declarations of webhooks for workers and operators."""

from __future__ import annotations

from app.engine.domain import Lockable, Wiring
from app.engine.registration import Parts
from app.webhooks import effects, fan_out, results
from events import webhook

_OF_DELIVERIES = webhook.DeliveryRequested | webhook.DeliveryCompleted

_DELIVERIES = Wiring(
    handlers={webhook.DeliveryCompleted: results.completed},
    effects={webhook.DeliveryRequested: effects.EFFECT},
    locks=(results.lock,),
    lockables=(
        # Lock order: deliveries, then endpoints.
        Lockable(
            "webhooks",
            "deliveries",
            lambda event: event.data.delivery_id if isinstance(event.data, _OF_DELIVERIES) else None,
        ),
        Lockable(
            "webhooks",
            "endpoints",
            lambda event: event.data.endpoint_id if isinstance(event.data, _OF_DELIVERIES) else None,
        ),
    ),
)

PARTS = Parts(
    wirings=(_DELIVERIES, fan_out.wiring()),
    tables=("webhooks.endpoints", "webhooks.secrets", "webhooks.deliveries"),
)
