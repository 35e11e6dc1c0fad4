"""Fan out: one delivery for each event and each endpoint that wants it, and no cost without endpoints."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.context import HandlerContext
from app.engine.queue.publish import publish
from app.testing.deliver import deliver
from app.webhooks import endpoints, fan_out
from app.webhooks.fixtures.crashes import SAID
from app.webhooks.fixtures.hooked import Hooked
from events import Payload, collection, order, robot
from events.subscriptions import copy_for
from tests.helpers.support import scalar

_APPLIED = "SELECT array_agg(type ORDER BY type) FROM engine.event_log"


def test_an_event_of_a_tenant_without_endpoints_is_not_copied(hooked: Hooked, hooked_org: Hooked) -> None:
    """Nor one whose type no endpoint wants, nor one without a tenant, nor for a disabled endpoint."""
    hooked.add("/orders", "order.updated")
    off = hooked.add("/off", "robot.job.completed")
    endpoints.disable_endpoint(hooked.context, off.id, actor="ana")
    untenanted = hooked.event().model_copy(update={"tenantid": None})
    publish(hooked.connection, hooked.event(), untenanted, hooked.event(tenant=hooked_org.tenant_id))
    deliver(hooked.connection)
    assert scalar(hooked.connection, _APPLIED) == ["robot/job.completed"] * 3
    assert hooked.deliveries() == []


@pytest.mark.parametrize("payload", SAID, ids=lambda payload: payload.type)
def test_every_published_type_arrives(hooked: Hooked, hooked_org: Hooked, payload: type[Payload]) -> None:
    """At the endpoints of its tenant: a workspace, or an organisation for collection runs."""
    is_of_org = payload.type.startswith("collection/")
    tenant, other = (hooked_org, hooked) if is_of_org else (hooked, hooked_org)
    tenant.add()
    other.add("/other")
    publish(hooked.connection, copy_for(fan_out.COPIES[payload], event := tenant.event(SAID[payload])))
    deliver(hooked.connection)
    (got,) = hooked.receiver.received
    assert (got.path, got.event["type"]) == ("/hooks", payload.type.replace("/", "."))
    assert got.event["data"] == event.data.model_dump(mode="json", exclude_none=True)
    assert other.deliveries() == []


def test_the_types_are_those_of_handlers_that_change_nothing_here(hooked: Hooked) -> None:
    """The subscriber serves exactly the types that endpoints can be registered for."""
    assert set(fan_out.COPIES) == {
        robot.JobCompleted,
        order.OrderUpdated,
        collection.JobCompleted,
        collection.RunPaused,
        collection.BudgetWarned,
    }
    assert set(fan_out.COPIES) == set(SAID)


def test_a_repeated_copy_makes_no_second_delivery(hooked: Hooked) -> None:
    """Also if the ledger has forgotten the first."""
    hooked.add()
    copy = copy_for(fan_out.COPIES[robot.JobCompleted], hooked.event())
    context = HandlerContext.begin(hooked.connection)
    first, second = (list(fan_out.fan_out(context, [copy])) for _ in range(2))
    assert (len(first), len(second)) == (1, 0)
    assert isinstance(first[0].data.delivery_id, UUID)
    assert len(hooked.deliveries()) == 1
