"""Explain, doctor and replay plans: why a delivery waits or died, and the remedy."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.forecast import Class
from app.engine.dead_letters.letters import Filters
from app.engine.inspect.reasons import Dead
from app.engine.inspect.waiting import PutBack
from app.engine.queue.publish import publish
from app.errors import NotFound
from app.settings import settings, using
from app.testing.deliver import deliver
from app.webhooks import endpoints, explain
from app.webhooks.explain import DeliveryEnded, EndpointDisabled, EndpointFailing, EndpointResting
from app.webhooks.fixtures.hooked import Hooked
from tests.helpers.explained import explain_item, explain_workspace
from tests.helpers.health_fixtures import enlist, of


def send(hooked: Hooked) -> None:
    """Publish a completed robot job, and deliver everything that is due."""
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)


def classes(hooked: Hooked) -> dict[Class, int]:
    """Return how many letters of each class a new plan has."""
    return plans.classes(hooked.connection, plans.make(hooked.connection, Filters(), actor="ana").id)


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


def test_doctor_reports_endpoints_that_need_a_person(hooked: Hooked) -> None:
    """Disabled by the program, or failing for an hour. Not those that an admin disabled."""
    ok = [("ok", "no endpoint is failing, and none was disabled by the program")]
    gone = hooked.add("/gone", then="answer", status=410)
    failing, off = hooked.add("/failing", then="answer"), hooked.add("/off")
    endpoints.disable_endpoint(hooked.context, off.id, actor="ana")
    assert of("webhooks") == ok
    send(hooked)
    ((level, what),) = of("webhooks")
    assert (level, f"endpoint {gone.id} is disabled since" in what, "1 dead deliveries" in what) == ("info", True, True)
    hooked.connection.execute("UPDATE webhooks.endpoints SET failing_since = failing_since - interval '2 hours'")
    found = dict(of("webhooks"))
    assert set(found) == {"info", "warning"}
    assert f"endpoint {failing.id} has been failing since" in found["warning"]
    with using(webhook_networks="nowhere"):
        assert ("problem", True) in [(level, "TALLYMAN_WEBHOOK_NETWORKS" in what) for level, what in of("webhooks")]


def test_doctor_reports_secrets_that_do_not_open(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another sealing key. The endpoint is named."""
    endpoint = hooked.add()
    assert of("webhook secrets") == [("ok", "every enabled endpoint has secrets that can be decrypted")]
    monkeypatch.setenv("TALLYMAN_KEYS", "other:" + base64.b64encode(bytes(32)).decode())
    settings.cache_clear()
    ((level, what),) = of("webhook secrets")
    assert (level, str(endpoint.id) in what) == ("problem", True)


def test_a_plan_blocks_deliveries_to_disabled_endpoints(hooked: Hooked) -> None:
    """They would die again. After the endpoint is enabled they can be replayed."""
    endpoint = hooked.add(then="answer", status=410)
    send(hooked)
    assert classes(hooked) == {"blocked": 1}
    endpoints.enable_endpoint(hooked.context, endpoint.id, actor="ana")
    assert classes(hooked) == {"valid": 1}
