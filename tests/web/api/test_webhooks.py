"""Webhooks over HTTP: managed by admins of the tenant, read by its members, and by nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from app.context import Connection
from app.engine.queue.publish import publish
from app.settings import settings
from app.simulators.receiver import Receiver
from app.testing.deliver import deliver
from app.webhooks.fixtures.hooked import NETWORKS, Hooked
from tests.helpers.factories import make_member
from tests.helpers.web import TestClient, bearer
from tests.web.api.conftest import Caller

EVENT = "robot.job.completed"


@pytest.fixture
def admin(connection: Connection, client: TestClient, member: Caller) -> dict[str, str]:
    """The headers of an admin of the member's workspace."""
    return bearer(make_member(connection, member.workspace, "admin"))


@pytest.fixture
def hooked(connection: Connection, receiver: Receiver, member: Caller, monkeypatch: pytest.MonkeyPatch) -> Hooked:
    """The member's workspace, whose endpoints may be on the loopback interface."""
    monkeypatch.setenv("TALLYMAN_WEBHOOK_NETWORKS", NETWORKS)
    settings.cache_clear()
    return Hooked(connection, member.workspace.id, receiver)


def add(client: TestClient, hooked: Hooked, admin: dict[str, str], **values: Any) -> Any:
    """Add an endpoint. Returns the answer."""
    body = {"url": f"{hooked.receiver.url}/hooks", "event_types": [EVENT], **values}
    return client.post(f"/v1/workspaces/{hooked.tenant_id}/webhooks", json=body, headers=admin)


def test_an_admin_registers_an_endpoint(client: TestClient, hooked: Hooked, admin: dict[str, str]) -> None:
    """The secret is in this answer only. Members see the endpoint and its deliveries."""
    answer = add(client, hooked, admin)
    assert answer.status_code == 201
    endpoint, path = answer.json()["endpoint"], answer.headers["location"]
    hooked.trust(answer.json()["secret"])
    publish(hooked.connection, *[hooked.event() for _ in range(3)])
    deliver(hooked.connection)
    assert client.get(path).json() == endpoint
    assert client.get(f"/v1/workspaces/{hooked.tenant_id}/webhooks").json() == [endpoint]
    first = client.get(f"{path}/deliveries", params={"limit": 2, "status": "delivered"})
    rest = client.get(first.links["next"]["url"])
    assert [one["last_status"] for one in (*first.json(), *rest.json())] == [204] * 3
    shown = client.get(f"{path}/deliveries/{first.json()[0]['id']}").json()
    assert shown["body"] in {one.body for one in hooked.receiver.received}


def test_an_admin_disables_enables_and_rotates(client: TestClient, hooked: Hooked, admin: dict[str, str]) -> None:
    """With the person's id as the author. A second rotation is refused while the first one lasts."""
    path = add(client, hooked, admin).headers["location"]
    off = client.post(f"{path}/disable", headers=admin).json()
    assert (off["is_enabled"], off["disabled_reason"], off["changed_by"][:5]) == (False, "user", "user ")
    assert client.post(f"{path}/enable", headers=admin).json()["is_enabled"]
    rotated = client.post(f"{path}/rotate", json={}, headers=admin).json()
    assert (rotated["secret"][:6], rotated["former_until"] is None) == ("whsec_", False)
    again = client.post(f"{path}/rotate", json={"hours": 1}, headers=admin)
    assert (again.status_code, again.json()["detail"][:9]) == (409, "endpoint:")


def test_a_member_may_only_read(client: TestClient, hooked: Hooked, admin: dict[str, str]) -> None:
    """403 for every change."""
    path = add(client, hooked, admin).headers["location"]
    assert add(client, hooked, {}).status_code == 403
    for change in ("enable", "disable"):
        assert client.post(f"{path}/{change}").status_code == 403
    assert client.post(f"{path}/rotate", json={}).status_code == 403


def test_an_outsider_sees_nothing(client: TestClient, hooked: Hooked, admin: dict[str, str], outsider: Caller) -> None:
    """404, as for an endpoint that does not exist."""
    path = add(client, hooked, admin).headers["location"]
    for answer in (
        client.get(path, headers=outsider.headers),
        client.get(f"{path}/deliveries", headers=outsider.headers),
        client.post(f"{path}/disable", headers=outsider.headers),
        client.get(f"/v1/workspaces/{hooked.tenant_id}/webhooks", headers=outsider.headers),
        client.get(f"/v1/orgs/{hooked.tenant_id}/webhooks"),
    ):
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "http://example.org/"}, "url: must begin with https"),
        ({"url": "https://10.0.0.1/"}, "url: must not have a private"),
        ({"event_types": ["collection.job.completed"]}, "event: "),
        ({"max_calls": 21}, "body.max_calls"),
        ({"urls": "x"}, "body.urls"),
    ],
)
def test_a_wrong_value_is_named(
    client: TestClient, hooked: Hooked, admin: dict[str, str], values: dict[str, Any], field: str
) -> None:
    """And nothing is added."""
    answer = add(client, hooked, admin, **values)
    assert answer.status_code == 422
    assert field in str(answer.json())
    assert client.get(f"/v1/workspaces/{hooked.tenant_id}/webhooks").json() == []
