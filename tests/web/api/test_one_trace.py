"""One trace from the request that submits a job to the calls of the carrier's portal."""

from __future__ import annotations

from app.context import Connection
from app.simulators.portal import Portal
from tests.helpers.shops import Shop
from tests.helpers.support import drain
from tests.helpers.traces import GIVEN, SPAN, TRACE, exported, ids
from tests.helpers.web import TestClient
from tests.web.api.conftest import Caller


def submit(client: TestClient, member: Caller, shop: Shop, traceparent: str) -> None:
    """Submit a job of two orders with this header, and ship it."""
    answer = client.post(
        f"/v1/workspaces/{member.workspace.id}/jobs",
        json={"order_ids": [str(one) for one in shop.order(2)]},
        headers={"Idempotency-Key": traceparent, "traceparent": traceparent},
    )
    assert answer.status_code == 201
    drain()


def test_one_trace_from_the_request_to_the_portal(
    client: TestClient, member: Caller, shop: Shop, portal: Portal, connection: Connection
) -> None:
    """Request, deliveries, effects and outgoing requests are spans of one trace, each caused by the one before."""
    with exported() as spans:
        submit(client, member, shop, GIVEN)
    found = {ids(span)[1]: span for span in spans.get_finished_spans() if ids(span)[0] == TRACE}
    parents = {own: ids(span)[2] for own, span in found.items()}
    assert len(portal.record.traceparents) == 2
    for traceparent in portal.record.traceparents:
        version, trace_id, span_id, flags = traceparent.split("-")
        assert (version, trace_id, flags) == ("00", TRACE, "01")
        way = []
        while span_id != SPAN:  # up to the span of the client that sent the request
            way.append(found[span_id].name)
            span_id = parents[span_id] or ""
        assert way == [
            "POST",
            "call robot/item.requested",
            "process robot/item.requested",
            "process robot/job.submitted",
            "POST /v1/workspaces/{workspace_id}/jobs",
        ]
    assert "process robot/item.completed" in {span.name for span in found.values()}


def test_a_trace_that_is_not_sampled_makes_no_spans(
    client: TestClient, member: Caller, shop: Shop, portal: Portal, connection: Connection
) -> None:
    """Its id and its flag are passed on. Without OpenTelemetry the header is passed on as it came."""
    unsampled = f"00-{TRACE}-{SPAN}-00"
    with exported() as spans:
        submit(client, member, shop, unsampled)
    assert [span.name for span in spans.get_finished_spans() if ids(span)[0] == TRACE] == []
    assert {(one[3:35], one[-2:]) for one in portal.record.traceparents} == {(TRACE, "00")}
    portal.record.traceparents.clear()
    submit(client, member, shop, GIVEN)
    assert portal.record.traceparents == [GIVEN, GIVEN]
    portal.record.traceparents.clear()
    submit(client, member, shop, "malformed")
    assert portal.record.traceparents == []
