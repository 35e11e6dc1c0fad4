"""Outcomes of deliveries: recorded once, and only for the right tenant."""

from __future__ import annotations

import pytest

from app.engine.dead_letters import manage
from app.engine.queue.publish import publish
from app.engine.worker.prune import prune
from app.errors import Conflict
from app.testing.deliver import deliver
from app.webhooks import keys
from app.webhooks.fixtures.hooked import Hooked
from events import new_id
from events.webhook import DeliveryCompleted
from tests.helpers.hooks import in_every_status, send
from tests.helpers.support import scalar

_LETTER = "SELECT event_id FROM engine.failed_jobs WHERE resolved_at IS NULL"


def test_a_result_of_another_tenant_dies(hooked: Hooked) -> None:
    """And changes nothing."""
    hooked.add(then="answer")
    send(hooked)
    (made,) = hooked.deliveries()
    said = DeliveryCompleted(delivery_id=made.id, endpoint_id=made.endpoint_id, status=200)
    publish(hooked.connection, hooked.event(said, tenant=new_id()))
    deliver(hooked.connection, queues=["events"])
    assert hooked.deliveries() == [made]
    assert scalar(hooked.connection, "SELECT job_type FROM engine.failed_jobs") == DeliveryCompleted.type


def test_a_dead_request_is_resolved_with_its_result_only(hooked: Hooked) -> None:
    """The delivery waits for it."""
    hooked.add(then="answer", status=410)
    send(hooked)
    with pytest.raises(Conflict):
        manage.resolve(hooked.connection, [scalar(hooked.connection, _LETTER)], note="seen to", actor="ana")


def test_old_deliveries_that_have_ended_are_pruned(hooked: Hooked) -> None:
    """And secrets that do not sign any more. Deliveries that can still be sent are kept."""
    in_every_status(hooked)
    endpoint = hooked.add("/rotated")
    keys.rotate(hooked.context, endpoint.id, actor="ana", hours=0)
    hooked.connection.execute("UPDATE webhooks.deliveries SET created_at = now() - interval '31 days'")
    hooked.connection.execute("UPDATE webhooks.secrets SET expires_at = expires_at - interval '25 hours'")
    gone = prune(hooked.connection)
    assert {one.status for one in hooked.deliveries()} == {"pending", "dead"}
    assert gone["secrets"] == 1
    assert not any(prune(hooked.connection).values())
