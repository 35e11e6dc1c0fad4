"""Forecasts of replays of webhooks, for plans."""

from __future__ import annotations

from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.forecast import Class
from app.engine.dead_letters.letters import Filters
from app.engine.queue.publish import publish
from app.testing.deliver import deliver
from app.webhooks import endpoints
from app.webhooks.fixtures.hooked import Hooked
from events import new_id
from events.webhook import DeliveryCompleted
from tests.helpers.hooks import send


def classes(hooked: Hooked) -> dict[Class, int]:
    """Return how many letters of each class a new plan has."""
    return plans.classes(hooked.connection, plans.make(hooked.connection, Filters(), actor="ana").id)


def test_a_plan_blocks_deliveries_to_disabled_endpoints(hooked: Hooked) -> None:
    """They would die again. After the endpoint is enabled they can be replayed."""
    endpoint = hooked.add(then="answer", status=410)
    send(hooked)
    assert classes(hooked) == {"blocked": 1}
    endpoints.enable_endpoint(hooked.context, endpoint.id, actor="ana")
    assert classes(hooked) == {"valid": 1}


def test_a_foreign_result_is_blocked(hooked: Hooked) -> None:
    """It names a delivery that is not its tenant's, and would die again."""
    hooked.add()
    send(hooked)
    (made,) = hooked.deliveries()
    said = DeliveryCompleted(delivery_id=made.id, endpoint_id=made.endpoint_id, status=200)
    publish(hooked.connection, hooked.event(said, tenant=new_id()))
    deliver(hooked.connection)
    assert classes(hooked) == {"blocked": 1}
