"""Robot jobs over HTTP: submitted once a key, read by their tenant alone, retried and cancelled."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.context import Connection
from app.logistics import carriers
from app.logistics.jobs import cancel_job, create_robot_job
from tests.helpers.shops import Shop
from tests.helpers.support import scalar
from tests.helpers.web import TestClient
from tests.web.api.conftest import Caller

KEY = {"Idempotency-Key": "monday"}
EVENTS = "SELECT count(*) FROM public.procrastinate_jobs WHERE args ->> 'type' = 'robot/job.submitted'"


def path(member: Caller) -> str:
    """Return the path of the workspace's jobs."""
    return f"/v1/workspaces/{member.workspace.id}/jobs"


def body(order_ids: Any, **more: Any) -> dict[str, Any]:
    """Return the body of a submit."""
    return {"order_ids": [str(one) for one in order_ids], **more}


def test_a_job_is_submitted_once_a_key(client: TestClient, member: Caller, shop: Shop, connection: Connection) -> None:
    """The same key and body: the first answer, byte for byte, also when the job has gone on. Another body: 409."""
    orders = shop.order(3)
    first = client.post(path(member), json=body(orders), headers=KEY)
    assert first.status_code == 201
    job = first.json()
    assert (job["total_items"], job["carrier"], job["idempotency_key"]) == (3, "coordinadora", "monday")
    assert first.headers["location"] == f"/v1/jobs/{job['id']}"
    cancel_job(shop.context, UUID(job["id"]), actor="me", reason="changed")
    again = client.post(path(member), json=body(reversed(orders)), headers=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")

    other = client.post(path(member), json=body(orders[:1]), headers=KEY)
    assert (other.status_code, other.json()["type"], other.json()["job_id"]) == (
        409,
        "urn:problem:tallyman:key-reused",
        job["id"],
    )
    assert scalar(connection, "SELECT count(*) FROM logistics.robot_jobs") == 1
    assert scalar(connection, EVENTS) == 1


WRONG: dict[str, tuple[Any, dict[str, str], int, str]] = {
    "no orders": ({"order_ids": []}, KEY, 422, "body.order_ids"),
    "an order twice": (body([UUID(int=1), UUID(int=1)]), KEY, 422, "order_ids"),
    "no id": ({"order_ids": ["x"]}, KEY, 422, "body.order_ids.0"),
    "a number for a boolean": (body([UUID(int=1)], again=1), KEY, 422, "body.again"),
    "unknown field": (body([UUID(int=1)], carier="dhl"), KEY, 422, "body.carier"),
    "bad carrier": (body([UUID(int=1)], carrier="D H L"), KEY, 422, "body.carrier"),
    "no key": (body([UUID(int=1)]), {}, 422, "header.Idempotency-Key"),
    "a key with spaces": (body([UUID(int=1)]), {"Idempotency-Key": "a b"}, 422, "header.Idempotency-Key"),
    "not an object": ([], KEY, 422, "body"),
}


def test_a_wrong_request_names_the_field(
    client: TestClient, member: Caller, shop: Shop, connection: Connection
) -> None:
    """And creates nothing."""
    for name, (content, headers, status, field) in WRONG.items():
        answer = client.post(path(member), json=content, headers=headers)
        assert (name, answer.status_code, answer.json()["errors"][0]["field"]) == (name, status, field)
    foreign = client.post(path(member), json=body([UUID(int=1)]), headers=KEY)
    assert (foreign.status_code, foreign.json()["detail"][:10]) == (404, "order_ids:")
    unknown = client.post(path(member), json=body(shop.order(1), carrier="dhl"), headers=KEY)
    assert (unknown.status_code, unknown.json()["status"]) == (404, 404)
    carriers.disable_carrier(shop.context, "coordinadora")
    disabled = client.post(path(member), json=body(shop.order(1)), headers=KEY)
    assert (disabled.status_code, disabled.json()["errors"][0]["field"]) == (409, "carrier")
    assert scalar(connection, "SELECT count(*) FROM logistics.robot_jobs") == 0
    assert scalar(connection, EVENTS) == 0


def test_orders_of_another_workspace_cannot_be_shipped(
    client: TestClient, member: Caller, outsider: Caller, shop: Shop, connection: Connection
) -> None:
    """Neither in the own workspace nor in theirs."""
    orders = shop.order(1)
    carriers.set_carrier(
        Shop(connection, outsider.workspace.id).context, "coordinadora", username="x", portal_url="http://127.0.0.1:9"
    )
    own = client.post(path(outsider), json=body(orders), headers={**KEY, **outsider.headers})
    foreign = client.post(path(member), json=body(orders), headers={**KEY, **outsider.headers})
    assert (own.status_code, foreign.status_code) == (409, 404)
    assert scalar(connection, "SELECT count(*) FROM logistics.robot_jobs") == 0


CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/v1/jobs/{job}", None),
    ("GET", "/v1/jobs/{job}/items", None),
    ("POST", "/v1/jobs/{job}/retry", {}),
    ("POST", "/v1/jobs/{job}/cancel", {"reason": "x"}),
    ("GET", "/v1/workspaces/{workspace}/jobs", None),
)


def test_a_job_of_another_tenant_is_like_an_unknown_one(
    client: TestClient, member: Caller, outsider: Caller, shop: Shop, connection: Connection
) -> None:
    """404 with the same document, whatever the call. The job stays as it is."""
    job = create_robot_job(shop.context, shop.order(1))
    before = connection.execute("SELECT * FROM logistics.robot_jobs").fetchall()
    for method, template, content in CALLS:
        answers = []
        for job_id, workspace_id in ((job.id, member.workspace.id), (uuid4(), uuid4())):
            called = template.format(job=job_id, workspace=workspace_id)
            answer = client.request(method, called, json=content, headers=outsider.headers)
            assert answer.status_code == 404, called
            answers.append(answer.text.replace(str(job_id), "ID").replace(str(workspace_id), "ID"))
        assert answers[0] == answers[1]
    assert connection.execute("SELECT * FROM logistics.robot_jobs").fetchall() == before


def test_lists_are_pages(client: TestClient, member: Caller, shop: Shop) -> None:
    """`Link` leads through every entry once, in order, and keeps the filters. A wrong limit is refused by name."""
    orders = shop.order(5)
    made = [str(create_robot_job(shop.context, [order]).id) for order in orders]
    assert _walk(client, f"{path(member)}?limit=2&status=pending") == made[::-1]
    job = create_robot_job(shop.context, orders)
    items = _walk(client, f"/v1/jobs/{job.id}/items?limit=2")
    assert len(set(items)) == len(items) == 5
    assert client.get(f"/v1/jobs/{job.id}/items", params={"status": "success"}).json() == []
    (one,) = client.get(f"/v1/jobs/{job.id}/items", params={"limit": 1}).json()
    assert (one["order_reference"], one["status"], one["retry_count"]) == ("00000", "pending", 0)
    for query, field in (("limit=0", "query.limit"), ("limit=false", "query.limit"), ("status=new", "query.status")):
        answer = client.get(f"{path(member)}?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def _walk(client: TestClient, url: str) -> list[str]:
    found = []
    while True:
        answer = client.get(url)
        found += [one["id"] for one in answer.json()]
        if "next" not in answer.links:
            return found
        url = answer.links["next"]["url"]


def test_an_unchanged_job_is_not_sent_again(served: httpx.Client, member: Caller, shop: Shop) -> None:
    """304 without a body, on a connection that is kept alive. A changed job has another entity tag."""
    job = create_robot_job(shop.context, shop.order(2))
    url = f"/v1/jobs/{job.id}"
    first = served.get(url, headers=member.headers)
    assert (first.status_code, first.json()["status"], first.json()["errors"]) == (200, "pending", {})
    tag = first.headers["etag"]
    for known in (tag, f'"x", W/{tag}', "*"):
        same = served.get(url, headers={**member.headers, "If-None-Match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert served.get("/healthz").json() == {"status": "ok"}
    cancel_job(shop.context, job.id, actor="me", reason="changed")
    changed = served.get(url, headers={**member.headers, "If-None-Match": tag})
    assert (changed.status_code, changed.json()["status"], changed.json()["error_count"]) == (200, "failed", 2)
    assert changed.json()["errors"] == {"validation": 2}
    assert changed.headers["etag"] != tag


def test_a_job_is_cancelled_and_its_failed_items_are_retried(
    client: TestClient, member: Caller, shop: Shop, connection: Connection
) -> None:
    """A dry run changes nothing. The audit log names the person. A retry begins the next generation."""
    job = create_robot_job(shop.context, shop.order(3))
    cancel, retry = f"/v1/jobs/{job.id}/cancel", f"/v1/jobs/{job.id}/retry"
    dry = client.post(cancel, json={"reason": "wrong day", "dry_run": True}).json()
    assert (dry["failed"], client.get(f"/v1/jobs/{job.id}").json()["status"]) == (3, "pending")
    done = client.post(cancel, json={"reason": "wrong\n day\x00"}).json()
    assert (done["failed"], done["in_hand"], done["letters"], done["job"]["status"]) == (3, 0, 0, "failed")
    logged = connection.execute("SELECT actor, reason FROM engine.actions").fetchall()
    assert logged == [(f"user {member.user_id}", "wrong day")]
    assert client.post(cancel, json={"reason": "again"}).status_code == 409

    items = [one["id"] for one in client.get(f"/v1/jobs/{job.id}/items").json()]
    assert client.post(retry, json={"item_ids": [str(uuid4())]}).status_code == 404
    some = client.post(retry, json={"item_ids": items[:1]}).json()
    assert (some["items"], some["job"]["generation"], some["job"]["error_count"]) == (1, 2, 2)
    assert client.post(retry, json={"item_ids": items[:1]}).status_code == 409
    rest = client.post(retry)
    assert (rest.status_code, rest.json()["items"], rest.json()["job"]["generation"]) == (200, 2, 3)
    assert scalar(connection, EVENTS) == 3


@pytest.mark.parametrize("reason", ["", " ", "\n", "x" * 501, 7, None])
def test_a_cancel_needs_a_reason(client: TestClient, member: Caller, reason: Any) -> None:
    """Of text that is not blank."""
    answer = client.post(f"/v1/jobs/{uuid4()}/cancel", json={"reason": reason})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body.reason")
