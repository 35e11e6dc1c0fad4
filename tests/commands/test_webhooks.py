"""`webhooks`, on the real database and a simulated receiver."""

from __future__ import annotations

from typing import Any

import pytest
from standardwebhooks import Webhook

from app.context import Connection
from app.engine.queue.publish import publish
from app.settings import settings
from app.simulators.receiver import Receiver
from app.tenancy.store import only_workspace
from app.testing.deliver import deliver
from app.webhooks.fixtures.hooked import NETWORKS, Hooked
from tests.commands.conftest import Run


@pytest.fixture
def shop(run: Run, connection: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Hooked:
    """The only workspace, whose endpoints may be on the loopback interface."""
    monkeypatch.setenv("TALLYMAN_WEBHOOK_NETWORKS", NETWORKS)
    settings.cache_clear()
    run("workspaces", "create", "Acme")
    return Hooked(connection, only_workspace(connection).id, receiver)


def add(run: Run, shop: Hooked, *options: str) -> dict[str, Any]:
    """Add an endpoint. Returns its line, with the secret, which the receiver knows from then on."""
    done = run(
        "webhooks", "add", f"{shop.receiver.url}/hooks", *(options or ("--event", "robot.job.completed")), "--json"
    )
    assert done.code == 0, done.err
    (line,) = done.rows
    shop.trust(line["secret"])
    return line


def test_an_endpoint_is_added_tested_and_listed(run: Run, shop: Hooked) -> None:
    """The secret is printed once, and the test event is signed with it."""
    added = add(run, shop)
    assert "not shown again" in run("webhooks", "rotate", added["id"]).err
    done = run("webhooks", "test", added["id"], "--json")
    (got,) = shop.receiver.received
    assert (done.code, done.rows[0]["status"], done.rows[0]["webhook_id"]) == (0, 204, got.message_id)
    assert (got.event["type"], got.event["data"]["endpoint_id"]) == ("webhook.test", added["id"])
    headers = {"webhook-id": got.message_id, "webhook-timestamp": got.timestamp, "webhook-signature": got.signature}
    Webhook(added["secret"]).verify(got.body, headers)
    for command in (("list",), ("show", added["id"])):
        (line,) = run("webhooks", *command, "--json").rows
        assert (line["id"], line["is_enabled"], "secret" in line) == (added["id"], True, False)
    assert "enabled" in run("webhooks", "list").out


def test_a_refused_test_event_exits_with_one(run: Run, shop: Hooked) -> None:
    """The answer is printed, and nothing is stored."""
    added = add(run, shop)
    shop.react(then="answer", status=503, text="down")
    done = run("webhooks", "test", added["id"], "--json")
    assert (done.code, done.rows[0]["status"], done.rows[0]["answer"]) == (1, 503, "down")
    assert run("webhooks", "deliveries", "--json").rows == []
    assert run("webhooks", "show", added["id"], "--json").rows[0]["failing_since"] is None


def test_deliveries_are_listed(run: Run, shop: Hooked) -> None:
    """By endpoint and status, one of them with its body."""
    added = add(run, shop)
    publish(shop.connection, shop.event())
    deliver(shop.connection)
    (line,) = run("webhooks", "deliveries", "--endpoint", added["id"], "--status", "delivered", "--json").rows
    assert (line["event_type"], line["attempts"], line["last_status"]) == ("robot.job.completed", 1, 204)
    (shown,) = run("webhooks", "deliveries", "--id", line["id"], "--json").rows
    assert shown["body"] == shop.receiver.received[0].body
    assert run("webhooks", "deliveries", "--status", "dead", "--json").rows == []
    assert "--before" in run("webhooks", "deliveries", "--limit", "1").err
    assert run("webhooks", "deliveries", "--id", line["id"], "--status", "dead").code == 2


def test_an_endpoint_is_disabled_and_enabled(run: Run, shop: Hooked) -> None:
    """With the author's name."""
    added = add(run, shop)
    (off,) = run("webhooks", "disable", added["id"], "--actor", "ana", "--json").rows
    assert (off["is_enabled"], off["disabled_reason"], off["changed_by"]) == (False, "user", "ana")
    assert "disabled (user)" in run("webhooks", "list").out
    (on,) = run("webhooks", "enable", added["id"], "--json").rows
    assert on["is_enabled"]


def test_an_organisation_is_chosen_by_its_option(run: Run, shop: Hooked) -> None:
    """Its endpoints get events of collection runs, and are not the workspace's."""
    added = add(run, shop, "--event", "collection.job.completed", "--org", "Acme")
    assert run("webhooks", "list", "--json").rows == []
    assert [one["id"] for one in run("webhooks", "list", "--org", "Acme", "--json").rows] == [added["id"]]
    wrong = run("webhooks", "add", "https://example.org/", "--event", "robot.job.completed", "--org", "Acme")
    assert (wrong.code, "event: 'robot.job.completed' is not published" in wrong.err) == (2, True)
