"""The declarations of webhooks for workers and operators."""

from __future__ import annotations

from app.engine.domain import Lockable, Wiring
from app.engine.registration import Explainer, Parts
from app.engine.retention import Rule
from app.webhooks import checkups, effects, explain, fan_out, forecasts, invariants, results
from events import webhook

_OF_DELIVERIES = webhook.DeliveryRequested | webhook.DeliveryCompleted

_DELIVERIES = Wiring(
    handlers={webhook.DeliveryCompleted: results.completed},
    effects={webhook.DeliveryRequested: effects.EFFECT},
    forecasts={webhook.DeliveryRequested: forecasts.requests, webhook.DeliveryCompleted: forecasts.results},
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

_KEPT_FOR_A_TIME = Wiring(
    handlers={},
    effects={},
    retention=(
        Rule(
            "webhooks",
            "deliveries",
            "old.status IN ('delivered', 'discarded') AND old.created_at < now() - %(days)s * interval '1 day'",
            lambda given: given.webhook_deliveries_days,
        ),
        Rule("webhooks", "secrets", "old.expires_at < now() - interval '1 day'"),
    ),
)

PARTS = Parts(
    wirings=(_DELIVERIES, fan_out.WIRING, _KEPT_FOR_A_TIME),
    invariants=invariants.WEBHOOKS,
    checkups=checkups.WEBHOOKS,
    explainers=(Explainer(item=explain.explain_delivery, tenant=explain.with_endpoints, tenant_of=explain.tenant_of),),
    tables=("webhooks.endpoints", "webhooks.secrets", "webhooks.deliveries"),
)
