"""Outcomes of deliveries: recorded once, and only for the right tenant."""

from __future__ import annotations

import pytest

from app.engine.dead_letters import manage
from app.engine.queue.publish import publish
from app.errors import Conflict
from app.testing.deliver import deliver
from app.webhooks.fixtures.hooked import Hooked
from app.webhooks.invariants import WEBHOOKS
from events import new_id
from events.webhook import DeliveryCompleted
from tests.helpers.support import scalar

_LETTER = "SELECT event_id FROM engine.failed_jobs WHERE resolved_at IS NULL"

BREAKS = {
    "an open delivery has its request or its result": "DELETE FROM engine.delayed",
    "a discarded delivery has no dead request": """
        UPDATE webhooks.deliveries SET status = 'discarded' WHERE status = 'dead'""",
    "an endpoint has one current secret and at most one former one": """
        UPDATE webhooks.secrets SET expires_at = now() + interval '1 hour'""",
    "a delivery is of a type that its endpoint's tenant has": """
        UPDATE webhooks.deliveries SET event_type = 'collection.job.completed'""",
}


def in_every_state(hooked: Hooked) -> None:
    """Make a delivery in each status: delivered, pending, dead and discarded."""
    for reaction in ({}, {"then": "answer"}, {"then": "answer", "status": 410}):
        hooked.add(f"/{reaction.get('status', reaction.get('then', 'ok'))}", **reaction)
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    hooked.add("/left", then="answer", status=410)
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    newest = scalar(hooked.connection, f"{_LETTER} ORDER BY failed_at DESC LIMIT 1")
    manage.discard(hooked.connection, [newest], note="-", actor="ana")


def test_the_invariants_hold_in_every_state(hooked: Hooked) -> None:
    """Each of them finds what breaks it, and none of the others does."""
    in_every_state(hooked)
    assert {one.status for one in hooked.deliveries()} == {"delivered", "pending", "dead", "discarded"}
    for broken in (None, *BREAKS):
        with hooked.connection.transaction(force_rollback=True):
            if broken:
                hooked.connection.execute(BREAKS[broken].encode())
            found = [one.name for one in WEBHOOKS if hooked.connection.execute(one.statement).fetchall()]
        assert found == ([f"webhooks: {broken}"] if broken else [])
    assert {one.name for one in WEBHOOKS} == {f"webhooks: {name}" for name in BREAKS}


def test_a_result_of_another_tenant_dies(hooked: Hooked) -> None:
    """And changes nothing."""
    hooked.add(then="answer")
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    (made,) = hooked.deliveries()
    said = DeliveryCompleted(delivery_id=made.id, endpoint_id=made.endpoint_id, status=200)
    publish(hooked.connection, hooked.event(said, tenant=new_id()))
    deliver(hooked.connection, queues=["events"])
    assert hooked.deliveries() == [made]
    assert scalar(hooked.connection, "SELECT job_type FROM engine.failed_jobs") == DeliveryCompleted.type


def test_a_dead_request_is_resolved_with_its_result_only(hooked: Hooked) -> None:
    """The delivery waits for it."""
    hooked.add(then="answer", status=410)
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    with pytest.raises(Conflict):
        manage.resolve(hooked.connection, [scalar(hooked.connection, _LETTER)], note="seen to", actor="ana")
