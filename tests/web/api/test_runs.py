"""Collection runs over HTTP: created once a key, changed by members of the organisation, its settings by admins."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from app.collection import runs
from app.context import Connection
from app.engine import event_types
from tests.collection.conftest import MARKETPLACE, Team
from tests.helpers.factories import make_user
from tests.helpers.support import scalar
from tests.helpers.web import TestClient, bearer

KEY = {"Idempotency-Key": "monday"}
TOYS = {"category_id": "toys", "pages": 4, "price_cents": 5}
EVENTS = "SELECT count(*) FROM public.procrastinate_jobs WHERE args ->> 'type' = 'collection/job.submitted'"


def _join(connection: Connection, org_id: UUID, role: str) -> dict[str, str]:
    user_id = make_user(connection)
    connection.execute("INSERT INTO tenancy.org_members VALUES (%s, %s, %s)", [org_id, user_id, role])
    return bearer(user_id)


@pytest.fixture
def team(client: TestClient, connection: Connection) -> Team:
    """An organisation with an enabled account, and a member, whose token the client sends."""
    org_id = UUID(str(scalar(connection, "INSERT INTO tenancy.orgs (name) VALUES ('shop') RETURNING id")))
    client.headers.update(_join(connection, org_id, "member"))
    user_id = UUID(str(scalar(connection, "SELECT user_id FROM tenancy.org_members")))
    team = Team(connection, org_id, user_id)
    team.equip("http://127.0.0.1:9")
    return team


def body(**more: Any) -> dict[str, Any]:
    """Return the body of a new run."""
    return {"marketplace": MARKETPLACE, "categories": [TOYS], **more}


def test_a_run_is_created_once_a_key(client: TestClient, team: Team, connection: Connection) -> None:
    """The same key and body: the first answer, byte for byte, also when the run has gone on. Another body: 409."""
    path = f"/v1/orgs/{team.org_id}/runs"
    first = client.post(path, json=body(), headers=KEY)
    assert (first.status_code, first.json()["estimated_cost_cents"]) == (201, 20)
    assert first.json()["created_by"] == str(team.user_id)
    run_id = first.json()["id"]
    assert first.headers["location"] == f"/v1/runs/{run_id}"
    runs.cancel_run(team.context, UUID(run_id), actor="me")
    again = client.post(path, json=body(), headers=KEY)
    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (201, first.content, "true")
    other = client.post(path, json=body(name="other"), headers=KEY)
    assert (other.status_code, other.json()["type"], other.json()["job_id"]) == (
        409,
        "urn:problem:tallyman:key-reused",
        run_id,
    )
    assert scalar(connection, EVENTS) == 1


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"categories": []}, 422, "body.categories"),
        ({"categories": [TOYS, TOYS]}, 422, "categories"),
        ({"categories": [{**TOYS, "pages": True}]}, 422, "body.categories.0.pages"),
        ({"cap_cents": False}, 422, "body.cap_cents"),
        ({"cap_cents": 10}, 422, "categories"),
        ({"marketplace": "ebay.de"}, 404, None),
    ],
)
def test_a_wrong_run_is_refused(
    client: TestClient, team: Team, connection: Connection, change: dict[str, Any], status: int, field: str | None
) -> None:
    """By the name of the field, and nothing is created."""
    answer = client.post(f"/v1/orgs/{team.org_id}/runs", json=body(**change), headers=KEY)
    assert answer.status_code == status, answer.text
    assert field in [one["field"] for one in answer.json().get("errors", [{"field": None}])]
    assert scalar(connection, "SELECT count(*) FROM collection.collection_runs") == 0


def test_a_run_is_paused_resumed_and_cancelled(client: TestClient, team: Team, connection: Connection) -> None:
    """The audit log names the person. A state that does not allow it is 409."""
    run = team.start()
    path = f"/v1/runs/{run.id}"
    steps = [("pause", "paused"), ("resume", "paused"), ("cancel", "cancelled")]
    for step, status in steps:
        answer = client.post(f"{path}/{step}", json={"reason": "a\nb"})
        assert (answer.status_code, answer.json()["status"]) == (200, status)
    assert client.post(f"{path}/cancel").status_code == 409
    logged = connection.execute("SELECT DISTINCT actor, reason FROM engine.actions WHERE action LIKE '%run'").fetchall()
    assert logged == [(f"user {team.user_id}", "a b")]
    shown = client.get(path)
    assert (shown.json()["status"], shown.json()["changed_by"]) == ("cancelled", f"user {team.user_id}")
    assert client.get(path, headers={"If-None-Match": shown.headers["etag"]}).status_code == 304
    assert client.get(f"{path}/items").json() == []
    listed = client.get(f"/v1/orgs/{team.org_id}/runs", params={"status": "cancelled", "limit": 1})
    assert ([one["id"] for one in listed.json()], listed.links) == ([str(run.id)], {})


def test_settings_are_read_by_members_and_changed_by_admins(
    client: TestClient, team: Team, connection: Connection
) -> None:
    """A lower cap pauses runs in the same commit."""
    event_types.register(connection)
    path = f"/v1/orgs/{team.org_id}/collection-settings"
    admin = _join(connection, team.org_id, "admin")
    assert client.get(path).json() == {
        "budget_cap_cents": 2500,
        "soft_warning_percent": 80,
        "max_concurrent_runs": 3,
        "updated_at": None,
    }
    refused = client.patch(path, json={"budget_cap_cents": 1})
    assert (refused.status_code, refused.json()["title"]) == (403, "Forbidden")
    run = team.start()
    changed = client.patch(path, json={"max_concurrent_runs": 1, "budget_cap_cents": 30}, headers=admin).json()
    assert (changed["settings"]["budget_cap_cents"], changed["paused"]) == (30, [])
    assert team.get(run).budget_cap_cents == 30
    wrong = client.patch(path, json={"soft_warning_percent": 101}, headers=admin)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "body.soft_warning_percent")


CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/v1/runs/{run}", None),
    ("GET", "/v1/runs/{run}/items", None),
    ("POST", "/v1/runs/{run}/pause", {}),
    ("POST", "/v1/runs/{run}/resume", {}),
    ("POST", "/v1/runs/{run}/cancel", {}),
    ("GET", "/v1/orgs/{org}/runs", None),
    ("POST", "/v1/orgs/{org}/runs", body()),
    ("GET", "/v1/orgs/{org}/collection-settings", None),
    ("PATCH", "/v1/orgs/{org}/collection-settings", {"budget_cap_cents": 1}),
)


def test_a_run_of_another_organisation_is_like_an_unknown_one(
    client: TestClient, team: Team, connection: Connection
) -> None:
    """404 with the same document, whatever the call, also for the admin of another organisation."""
    run = team.start()
    before = connection.execute("SELECT * FROM collection.collection_runs").fetchall()
    other = UUID(str(scalar(connection, "INSERT INTO tenancy.orgs (name) VALUES ('other') RETURNING id")))
    outsider = {**_join(connection, other, "admin"), **KEY}
    for method, template, content in CALLS:
        answers = []
        for run_id, org_id in ((run.id, team.org_id), (uuid4(), uuid4())):
            answer = client.request(method, template.format(run=run_id, org=org_id), json=content, headers=outsider)
            assert answer.status_code == 404, template
            answers.append(answer.text.replace(str(run_id), "ID").replace(str(org_id), "ID"))
        assert answers[0] == answers[1]
    assert connection.execute("SELECT * FROM collection.collection_runs").fetchall() == before
