"""Dead letters and replay plans over HTTP: for admins, of their own tenant alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from app.context import Connection
from app.engine.dead_letters import letters
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import DeadLetter, Filters
from app.logistics.jobs import create_robot_job
from events import new
from events.robot import JobSubmitted
from tests.helpers.dead_letters import dead
from tests.helpers.factories import make_member
from tests.helpers.shops import Shop
from tests.helpers.support import drain_all, scalar
from tests.helpers.web import TestClient, bearer
from tests.web.api.conftest import Caller


@pytest.fixture
def admin(client: TestClient, member: Caller, connection: Connection) -> Caller:
    """An admin of the member's workspace, whose token the client sends."""
    user_id = make_member(connection, member.workspace, "admin")
    client.headers.update(bearer(user_id))
    return Caller(user_id, member.workspace, bearer(user_id))


def bury(shop: Shop, count: int) -> list[DeadLetter]:
    """Submit jobs whose events are dead letters instead of queued."""
    found: list[DeadLetter] = []
    for order in shop.order(count):
        job = create_robot_job(shop.context, [order])
        payload = JobSubmitted(job_id=job.id, carrier=job.carrier, item_count=1)
        found += dead(shop.connection, new(payload, now=shop.context.now, subject=job.id, tenant=shop.workspace_id))
    shop.connection.execute("DELETE FROM public.procrastinate_jobs")
    return found


def path(caller: Caller, *rest: object) -> str:
    """Return a path of the tenant."""
    return "/".join(map(str, ("/v1/tenants", caller.workspace.id, *rest)))


def test_letters_are_listed_and_shown(client: TestClient, admin: Caller, shop: Shop) -> None:
    """In pages, newest first, with the event and without the stack of our code."""
    made = bury(shop, 3)
    url, found = path(admin, "dead-letters?limit=2&type=robot/job.submitted"), []
    while url:
        answer = client.get(url)
        found += answer.json()
        url = answer.links.get("next", {}).get("url", "")
    assert sorted(one["id"] for one in found) == sorted(str(one.id) for one in made)
    assert client.get(path(admin, "dead-letters?resolved=true")).json() == []
    for id_ in (made[0].id, made[0].event_id):
        shown = client.get(path(admin, "dead-letters", id_)).json()
        assert (shown["id"], shown["event_data"]["tenantid"]) == (str(made[0].id), str(shop.workspace_id))
        assert not {"error_stack", "tenant_id"} & shown.keys()


def test_a_plan_is_made_and_replayed(client: TestClient, admin: Caller, shop: Shop, connection: Connection) -> None:
    """The letters go back into the queue. The audit log names the person. A second replay finds nothing to do."""
    bury(shop, 3)
    made = client.post(path(admin, "replay-plans"), json={"type": "robot/job.submitted"})
    assert (made.status_code, made.json()["classes"]) == (201, {"valid": 3})
    assert made.json()["filters"]["tenant"] == str(shop.workspace_id)
    plan = made.json()["id"]
    refused = client.post(path(admin, "replay-plans", plan, "replay"))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "reason")
    done = client.post(path(admin, "replay-plans", plan, "replay"), json={"reason": "fixed"})
    assert (done.status_code, done.json()["replayed"], done.json()["waiting"]) == (202, 3, 3)
    (listed,) = client.get(path(admin, "replay-plans")).json()
    assert (listed["id"], listed["letters"], listed["waiting"]) == (plan, 3, 3)
    drain_all(connection)
    url = path(admin, "replay-plans", plan, "letters?limit=2")
    page = client.get(url)
    rest = client.get(page.links["next"]["url"])
    outcomes = [(one["class"], one["outcome"]) for one in (*page.json(), *rest.json())]
    assert outcomes == [("valid", "applied")] * 3
    again = client.post(path(admin, "replay-plans", plan, "replay"), json={"reason": "once more"}).json()
    assert (again["replayed"], again["applied"], again["waiting"]) == (3, 3, 0)
    assert client.get(path(admin, "replay-plans", plan)).json()["finished_at"] is not None
    assert client.get(path(admin, "replay-plans?every=true&limit=1")).links == {}
    actors = connection.execute("SELECT DISTINCT actor FROM engine.actions").fetchall()
    assert actors == [(f"user {admin.user_id}",)]


CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "dead-letters", None),
    ("GET", "dead-letters/{letter}", None),
    ("GET", "replay-plans", None),
    ("POST", "replay-plans", {}),
    ("GET", "replay-plans/{plan}", None),
    ("GET", "replay-plans/{plan}/letters", None),
    ("POST", "replay-plans/{plan}/replay", {"reason": "x"}),
)


def test_a_tenant_reaches_no_letter_of_another(
    client: TestClient, admin: Caller, member: Caller, outsider: Caller, shop: Shop, connection: Connection
) -> None:
    """Members are told 403. Another's tenant, letter and plan are like unknown ones, under both tenants' paths."""
    (letter,) = bury(shop, 1)
    plan = plans.make(connection, Filters(tenant=shop.workspace_id), actor="me")
    shared = plans.make(connection, Filters(), actor="an operator")
    before = (_state(connection), letters.find(connection, letter.id))
    for method, template, content in CALLS:
        own = path(admin, template.format(letter=letter.id, plan=plan.id))
        assert client.request(method, own, json=content, headers=member.headers).status_code == 403, template
        answers = []
        for tenant, letter_id, plan_id in (
            (admin.workspace.id, letter.id, plan.id),
            (uuid4(), uuid4(), uuid4()),
        ):
            called = f"/v1/tenants/{tenant}/{template.format(letter=letter_id, plan=plan_id)}"
            answer = client.request(method, called, json=content, headers=outsider.headers)
            assert answer.status_code == 404, template
            answers.append(_anonymous(answer.text, tenant, letter_id, plan_id))
        assert answers[0] == answers[1]
        if "{" in template:
            for plan_id in (plan.id, shared.id):
                called = path(outsider, template.format(letter=letter.id, plan=plan_id))
                assert client.request(method, called, json=content, headers=outsider.headers).status_code == 404
    assert client.get(path(admin, "replay-plans", shared.id)).status_code == 404
    assert client.get(path(outsider, "dead-letters"), headers=outsider.headers).json() == []
    theirs = client.post(path(outsider, "replay-plans"), json={"ids": [str(letter.id)]}, headers=outsider.headers)
    assert (theirs.status_code, theirs.json()["classes"]) == (201, {})
    assert (_state(connection), letters.find(connection, letter.id)) == before


def _state(connection: Connection) -> Any:
    waiting = scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs")
    return waiting, connection.execute("SELECT letter_id, replayed_at FROM engine.replay_plan_letters").fetchall()


def _anonymous(text: str, *ids: UUID) -> str:
    for one in ids:
        text = text.replace(str(one), "ID")
    return text
