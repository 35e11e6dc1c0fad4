"""Explain: why a delivery waits or died, and the remedy."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.engine.inspect.reasons import Dead
from app.engine.inspect.waiting import PutBack
from app.errors import NotFound
from app.webhooks import endpoints, explain
from app.webhooks.explain import DeliveryEnded, EndpointDisabled, EndpointFailing, EndpointResting
from app.webhooks.fixtures.hooked import Hooked
from tests.helpers.explained import explain_item, explain_workspace
from tests.helpers.health_fixtures import enlist
from tests.helpers.hooks import send


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        ({}, [DeliveryEnded]),
        ({"then": "answer"}, [EndpointFailing, PutBack]),
        ({"then": "answer", "status": 503, "retry_after_s": 60}, [EndpointFailing, EndpointResting, PutBack]),
        ({"then": "answer", "status": 410}, [EndpointDisabled, Dead]),
    ],
)
def test_a_delivery_is_explained(hooked: Hooked, reaction: dict[str, object], expected: list[type]) -> None:
    """By the endpoint's state and the engine's reasons. Each has a sentence."""
    enlist(hooked.connection)
    hooked.add(**reaction)  # type: ignore[arg-type]
    send(hooked)
    (made,) = hooked.deliveries()
    reasons = explain_item(hooked.connection, made.id)
    assert [type(one) for one in reasons] == expected
    assert all(one.sentence for one in reasons)
    assert explain.tenant_of(hooked.connection, made.id) == hooked.tenant_id


def test_an_unknown_delivery_is_not_found(hooked: Hooked) -> None:
    """The error names the command that lists them."""
    with pytest.raises(NotFound, match="`webhooks deliveries`"):
        explain.explain_delivery(hooked.connection, uuid4())
    assert explain.tenant_of(hooked.connection, uuid4()) is None


def test_a_tenants_disabled_endpoints_are_explained(hooked: Hooked) -> None:
    """Besides its waiting events."""
    enlist(hooked.connection)
    endpoint = hooked.add()
    endpoints.disable_endpoint(hooked.context, endpoint.id, actor="ana")
    (reason,) = explain_workspace(hooked.connection, hooked.tenant_id)
    assert isinstance(reason, EndpointDisabled)
    assert f"`webhooks enable {endpoint.id}`" in reason.sentence
