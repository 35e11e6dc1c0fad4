"""Deliveries: from an applied event to a signed request, again until the endpoint accepts it."""

from __future__ import annotations

from app.engine.queue.publish import publish
from app.testing.deliver import deliver
from app.webhooks.fixtures.hooked import Hooked


def send(hooked: Hooked, count: int = 1) -> None:
    """Publish completed robot jobs and deliver everything that is due."""
    publish(hooked.connection, *[hooked.event() for _ in range(count)])
    deliver(hooked.connection)


def test_an_applied_event_arrives_signed(hooked: Hooked) -> None:
    """The body is the event by Standard Webhooks, and the id is the delivery's."""
    endpoint = hooked.add()
    publish(hooked.connection, event := hooked.event())
    deliver(hooked.connection)
    (got,), (made,) = hooked.receiver.received, hooked.deliveries(endpoint)
    assert (got.is_verified, got.content_type, got.message_id) == (True, "application/json", str(made.id))
    assert got.event["type"] == "robot.job.completed"
    assert got.event["timestamp"] == event.time.isoformat().replace("+00:00", "Z")
    assert got.event["data"] == event.data.model_dump(mode="json")
    assert (made.event_id, made.status, made.attempts, made.last_status) == (event.id, "delivered", 1, 204)
