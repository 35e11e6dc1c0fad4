"""Results that an external robot service posts: signed, each with a verdict, each counted once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from app.logistics.callback_secrets import add_secret, new_secret
from app.logistics.jobs import get_robot_job
from app.simulators.portal import Portal
from app.testing.drain import drain
from tests.helpers import robot_results, web
from tests.helpers.factories import Workspace, make_workspace
from tests.helpers.shops import Shop, equip

PATH = "/callbacks/robot/items"


@pytest.fixture
def shop(connection: Any, workspace: Workspace, portal: Portal) -> Shop:
    """A workspace that can ship."""
    return equip(connection, workspace.id, portal)


@pytest.fixture
def secret(shop: Shop) -> SecretStr:
    """The secret of the shop's robot service."""
    added = new_secret()
    add_secret(shop.context, added)
    return added


def post(
    client: httpx.Client,
    workspace_id: UUID,
    secret: SecretStr,
    results: object,
    message_id: str = "msg_1",
) -> httpx.Response:
    """Post results, signed with a secret."""
    body = results if isinstance(results, bytes) else json.dumps(results).encode()
    now = datetime.now(UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret.get_secret_value()).sign(message_id, now, body.decode()),
    }
    return client.post(PATH, params={"workspace": str(workspace_id)}, content=body, headers=headers)


def verdicts(answer: httpx.Response) -> list[str]:
    """Return the verdicts of an answer."""
    assert answer.status_code == 202, answer.text
    return [one["verdict"] for one in answer.json()["results"]]


def letters(shop: Shop) -> list[tuple[str, UUID]]:
    """Return type and tenant of the dead letters."""
    return shop.connection.execute("SELECT job_type, tenant_id FROM engine.failed_jobs").fetchall()


def test_results_are_counted_once(client: web.TestClient, shop: Shop, secret: SecretStr) -> None:
    """Many results or one, posted three times each: every item is counted once, and the answer is the same."""
    job, items = robot_results.submitted(shop, 3)
    results = [robot_results.success(one).model_dump(mode="json") for one in items[:2]]
    last = robot_results.failure(items[2]).model_dump(mode="json", exclude_none=True)
    first = post(client, shop.workspace_id, secret, results)
    for _ in range(2):
        assert post(client, shop.workspace_id, secret, results).json() == first.json()
    assert verdicts(post(client, shop.workspace_id, secret, last, "msg_2")) == ["accepted"]
    drain(queues=["events"])
    done = get_robot_job(shop.context, job.id)
    assert (done.status, done.success_count, done.error_count) == ("completed", 2, 1)
    again = post(client, shop.workspace_id, secret, results)
    assert verdicts(again) == ["accepted", "accepted"]
    assert [one["event_id"] for one in again.json()["results"]] == [one["event_id"] for one in first.json()["results"]]
    drain(queues=["events"])
    assert get_robot_job(shop.context, job.id) == done
    assert robot_results.broken(shop.connection) == []


def test_every_result_gets_a_verdict(client: web.TestClient, shop: Shop, portal: Portal, secret: SecretStr) -> None:
    """Foreign, unknown, late and invalid results beside a valid one: the valid one counts, and none is lost."""
    job, (item,) = robot_results.submitted(shop, 1)
    other = equip(shop.connection, make_workspace(shop.connection).id, portal)
    _, (foreign,) = robot_results.submitted(other, 1)
    good = robot_results.success(item).model_dump(mode="json")
    results = [
        robot_results.success(foreign).model_dump(mode="json"),
        good | {"item_id": str(uuid4())},
        good | {"job_id": str(foreign.job_id)},
        good | {"attempt": 7},
        good,
        good | {"tracking_number": "another"},
        good | {"attempt": "0"},
        good | {"attempt": False},
        good | {"tracking_number": None},
        good | {"tracking_number": "NUL \x00"},
        good | {"value_sent": {"document": "x" * 300_000}},
        {},
        None,
        "text",
        [good],
    ]
    answer = post(client, shop.workspace_id, secret, results)
    expected = ["unknown"] * 3 + ["late", "accepted", "late"] + ["invalid"] * 9
    assert verdicts(answer) == expected
    for one in answer.json()["results"]:
        assert (one["event_id"] is None) == (one["verdict"] == "invalid")
        assert bool(one["detail"]) == (one["verdict"] != "accepted")
    drain(queues=["events"])
    assert get_robot_job(shop.context, job.id).success_count == 1
    assert get_robot_job(other.context, foreign.job_id).success_count == 0
    # The owner of the secret sees what it reported; the owner of the foreign item sees nothing of it.
    assert letters(shop) == [("robot/item.completed", shop.workspace_id)] * 3
    assert robot_results.broken(shop.connection) == []


@pytest.mark.parametrize(
    ("results", "status", "problem"),
    [
        ([], 422, "body: must have 1 to 500 results"),
        ([{}] * 501, 422, "body: must have 1 to 500 results"),
        (b"{", 400, "body: is not JSON"),
        (b'[{"attempt": NaN}]', 400, "body: is not JSON"),
        (b"", 400, "body: is not JSON"),
    ],
)
def test_a_signed_body_without_results_is_a_problem(
    client: web.TestClient, shop: Shop, secret: SecretStr, results: object, status: int, problem: str
) -> None:
    """The answer names what is wrong with the body, and nothing is published."""
    answer = post(client, shop.workspace_id, secret, results)
    assert (answer.status_code, answer.json()["detail"][: len(problem)]) == (status, problem)


def test_an_unsigned_request_is_refused(client: web.TestClient, shop: Shop, secret: SecretStr) -> None:
    """Another secret, another workspace's URL, an unknown workspace, no signature: 403 in one form, and no event."""
    _, (item,) = robot_results.submitted(shop, 1)
    before = robot_results.everything(shop.connection)
    good = robot_results.success(item).model_dump(mode="json")
    other = make_workspace(shop.connection).id
    refused = [
        post(client, shop.workspace_id, new_secret(), good),
        post(client, other, secret, good),
        post(client, uuid4(), secret, good),
    ]
    assert len({(one.status_code, one.text) for one in refused}) == 1
    assert refused[0].status_code == 403
    assert client.post(PATH, params={"workspace": str(shop.workspace_id)}, json=good).status_code == 403
    assert client.post(PATH, json=good).status_code == 422
    assert robot_results.everything(shop.connection) == before


def test_a_rotation_loses_no_result(client: web.TestClient, shop: Shop, secret: SecretStr) -> None:
    """While there are two secrets, results signed with either are accepted."""
    _, items = robot_results.submitted(shop, 2)
    new = new_secret()
    add_secret(shop.context, new)
    for n, one in enumerate((secret, new)):
        good = robot_results.success(items[n]).model_dump(mode="json")
        assert verdicts(post(client, shop.workspace_id, one, good, f"msg_{n}")) == ["accepted"]
