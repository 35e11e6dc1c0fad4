"""Deliveries: from an applied event to a signed request, again until the endpoint accepts it."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from app.engine.dead_letters import manage, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.engine.domain import wiring
from app.engine.effects import cooldowns
from app.engine.queue.publish import publish
from app.settings import settings, using
from app.testing.deliver import deliver
from app.testing.faults import Fault
from app.webhooks import effects, endpoints, rules
from app.webhooks.fixtures.hooked import Hooked
from app.webhooks.rules import limit_key
from events.webhook import DeliveryRequested
from tests.conftest import Database
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.hooks import again, send
from tests.helpers.support import drain_all, scalar, working

_LAST_ATTEMPT = """
UPDATE engine.delayed SET due_at = now(), args = jsonb_set(args, '{attempt}', to_jsonb(%s::integer))
"""
_DUE_IN = "SELECT extract(epoch FROM max(due_at) - now()) FROM engine.delayed"


def test_an_applied_event_arrives_signed(hooked: Hooked) -> None:
    """The body is the event by Standard Webhooks, and the id is the delivery's."""
    endpoint = hooked.add()
    publish(hooked.connection, event := hooked.event())
    deliver(hooked.connection)
    (got,), (made,) = hooked.receiver.received, hooked.deliveries(endpoint)
    assert (got.is_verified, got.content_type, got.message_id) == (True, "application/json", str(made.id))
    assert got.event["type"] == "robot.job.completed"
    assert got.event["timestamp"] == event.time.isoformat().replace("+00:00", "Z")
    assert got.event["data"] == event.data.model_dump(mode="json")
    assert (made.event_id, made.status, made.attempts, made.last_status) == (event.id, "delivered", 1, 204)


def test_a_failed_request_is_repeated_with_the_same_id_and_body(hooked: Hooked) -> None:
    """Each attempt is counted, and the endpoint's answer is kept. A success ends the endpoint's failing."""
    endpoint = hooked.add(then="answer", text="no\x00 disk\nleft", times=2)
    send(hooked)
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts, made.last_status, made.last_answer) == ("pending", 1, 500, "no  disk left")
    assert hooked.endpoint(endpoint).failing_since is not None
    again(hooked)
    again(hooked)
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts, made.last_status, made.last_error) == ("delivered", 3, 204, None)
    assert len({(one.message_id, one.body) for one in hooked.receiver.received}) == 1
    assert len(hooked.receiver.received) == 3
    assert hooked.endpoint(endpoint).failing_since is None


@pytest.mark.parametrize(
    ("reaction", "status"),
    [
        ({"then": "redirect"}, 307),
        ({"then": "answer", "status": 400}, 400),
        ({"then": "answer", "status": 429}, 429),
        ({"then": "hang"}, None),
        ({"then": "cut"}, None),
    ],
)
def test_only_2xx_is_a_success(hooked: Hooked, reaction: dict[str, Any], status: int | None) -> None:
    """A redirect is not followed, and an answer that does not come in time is a failure."""
    hooked.add(**reaction)
    with using(webhook_timeout=0.3):
        send(hooked)
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts, made.last_status) == ("pending", 1, status)
    assert [one.path for one in hooked.receiver.received] == ["/hooks"]


def test_a_large_answer_is_cut(hooked: Hooked) -> None:
    """An endless body with the status 200 is a success, and its beginning is not stored if it is blank."""
    hooked.add(then="flood")
    send(hooked)
    (made,) = hooked.deliveries()
    assert (made.status, made.last_status, made.last_answer) == ("delivered", 200, "")


def test_a_delivery_dies_after_its_last_attempt(database: Database, hooked: Hooked) -> None:
    """Its request becomes a dead letter. A replay sends it again with the same id."""
    hooked.add(then="answer", times=2)
    send(hooked)
    hooked.connection.execute(_LAST_ATTEMPT, [effects.POLICY.most_attempts - 1])
    deliver(hooked.connection)
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts) == ("dead", 2)
    plan = plans.make(hooked.connection, Filters(type=DeliveryRequested.type), actor="ana")
    with working(database.url):
        done = replay.run(hooked.connection, plan, Pace(), actor="ana", reason="repaired", show=lambda _: None)
    assert done.outcomes["applied"] == 1
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts) == ("delivered", 3)
    assert {one.message_id for one in hooked.receiver.received} == {str(made.id)}


def test_an_endpoint_that_is_gone_is_disabled_at_once(hooked: Hooked) -> None:
    """410: later events make no delivery to it. Other endpoints go on."""
    gone, other = hooked.add("/gone", then="answer", status=410), hooked.add("/other")
    send(hooked)
    send(hooked)
    found = hooked.endpoint(gone)
    assert (found.is_enabled, found.disabled_reason) == (False, "gone")
    assert [one.status for one in hooked.deliveries(gone)] == ["dead"]
    assert [one.status for one in hooked.deliveries(other)] == ["delivered"] * 2
    assert [one.path for one in hooked.receiver.received].count("/gone") == 1


def test_an_endpoint_that_fails_for_days_is_disabled(hooked: Hooked) -> None:
    """By the first failure after `webhook_failing_days` without a success."""
    endpoint = hooked.add(then="answer")
    send(hooked)
    assert hooked.endpoint(endpoint).is_enabled
    hooked.connection.execute("UPDATE webhooks.endpoints SET failing_since = now() - interval '5 days 1 minute'")
    send(hooked)
    found = hooked.endpoint(endpoint)
    assert (found.is_enabled, found.disabled_reason) == (False, "failing")
    again(hooked)
    assert {one.status for one in hooked.deliveries()} == {"dead"}
    assert len(hooked.receiver.received) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_for_the_whole_endpoint(hooked: Hooked, status: int) -> None:
    """No attempt is spent, and no other delivery to it begins before. Other endpoints go on."""
    slow = hooked.add("/slow", then="answer", status=status, retry_after_s=100, times=1)
    hooked.add("/other")
    send(hooked)
    send(hooked)
    assert [one.path for one in hooked.receiver.received].count("/slow") == 1
    assert [one.path for one in hooked.receiver.received].count("/other") == 2
    assert {(one.status, one.attempts) for one in hooked.deliveries(slow)} == {("pending", 0)}
    (rest,) = cooldowns.find(hooked.connection, [limit_key(slow.id)])
    assert 90 < rest.seconds <= 100
    assert 90 < scalar(hooked.connection, _DUE_IN) < 120


def test_a_request_in_doubt_is_sent_again(database: Database, hooked: Hooked) -> None:
    """The worker died in the call. Nobody is asked and no person decides: the id is the same."""
    hooked.add()
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection, queues=["events"])
    die_in_a_call(database, hooked.connection, wiring(), Fault.DIES_AFTER)
    rescued(hooked.connection)
    drain_all(hooked.connection)
    (made,) = hooked.deliveries()
    assert made.status == "delivered"
    assert {one.message_id for one in hooked.receiver.received} == {str(made.id)}


def test_an_endpoint_has_a_limit_of_requests_at_once(hooked: Hooked) -> None:
    """Over all deliveries; the others wait."""
    hooked.add(max_calls=2, latency_ms=20)
    publish(hooked.connection, *[hooked.event() for _ in range(6)])
    drain_all(hooked.connection)
    assert hooked.receiver.most_at_once("/hooks") == 2
    assert {one.status for one in hooked.deliveries()} == {"delivered"}


def test_a_disabled_endpoint_gets_nothing(hooked: Hooked) -> None:
    """What waits dies and can be replayed after the endpoint is enabled."""
    endpoint = hooked.add()
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection, queues=["events"])
    endpoints.disable_endpoint(hooked.context, endpoint.id, actor="ana")
    deliver(hooked.connection)
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts, made.last_status) == ("dead", 0, None)
    assert "disabled" in (made.last_error or "")
    assert hooked.receiver.received == []


def test_each_account_of_a_tenant_is_an_endpoint(hooked: Hooked) -> None:
    """So a slow endpoint delays neither another tenant nor another endpoint for more than a call."""
    first, second = hooked.add("/a"), hooked.add("/b")
    publish(hooked.connection, hooked.event(), hooked.event())
    deliver(hooked.connection, queues=["events"])
    shares = hooked.connection.execute("SELECT share FROM engine.queue_rows WHERE queue_name = 'webhooks'").fetchall()
    assert sorted(share for (share,) in shares) == sorted(f"{hooked.tenant_id}/{one.id}" for one in (first, second))


def test_an_address_is_checked_at_each_request(hooked: Hooked) -> None:
    """Also if it was allowed when the endpoint was added. Nothing is sent, and the attempt is repeated."""
    hooked.add()
    with using(webhook_networks=""):
        send(hooked)
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts) == ("pending", 1)
    assert "private, local or reserved" in (made.last_error or "")
    assert hooked.receiver.received == []


def test_a_secret_that_does_not_open_is_named(hooked: Hooked) -> None:
    """The delivery dies without a request."""
    hooked.add()
    hooked.connection.execute("UPDATE webhooks.secrets SET sealed = left(sealed, -8) || 'AAAAAAA='")
    send(hooked)
    (made,) = hooked.deliveries()
    assert (made.status, made.last_error) == ("dead", made.last_error)
    assert "does not open" in (made.last_error or "")
    assert hooked.receiver.received == []


def test_a_missing_sealing_key_is_not_the_endpoints_failure(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery waits, and no attempt is recorded."""
    endpoint = hooked.add()
    monkeypatch.setenv("TALLYMAN_KEYS", "other:" + base64.b64encode(bytes(32)).decode())
    settings.cache_clear()
    send(hooked)
    (made,) = hooked.deliveries()
    assert (made.status, made.attempts, hooked.endpoint(endpoint).failing_since) == ("pending", 0, None)
    assert "TALLYMAN_KEYS" in (made.last_error or "")


def test_a_discarded_request_gives_its_delivery_up(hooked: Hooked) -> None:
    """With the operator's reason."""
    endpoint = hooked.add(then="answer", status=410)
    send(hooked)
    event_id = scalar(hooked.connection, "SELECT event_id FROM engine.failed_jobs")
    manage.discard(hooked.connection, [event_id], note="the customer left", actor="ana")
    (made,) = hooked.deliveries(endpoint)
    assert (made.status, made.last_error) == ("discarded", "discarded by ana: the customer left")


def test_a_request_of_another_tenant_dies(hooked: Hooked) -> None:
    """It names a delivery that is not its tenant's."""
    hooked.add()
    send(hooked)
    (made,) = hooked.deliveries()
    wanted = DeliveryRequested(delivery_id=made.id, endpoint_id=made.endpoint_id)
    publish(hooked.connection, hooked.event(wanted, tenant=made.event_id))
    deliver(hooked.connection)
    assert "of this tenant" in scalar(hooked.connection, "SELECT error_message FROM engine.failed_jobs")


def test_the_policy_retries_for_days() -> None:
    """As Standard Webhooks recommends: soon at first, then in hours, for two to three and a half days."""
    delays = [effects.POLICY.delay(n, chance) for chance in (0.0, 0.999) for n in range(19)]
    shortest, longest = sum(delays[:19]), sum(delays[19:])
    assert timedelta(hours=40) < timedelta(seconds=shortest) < timedelta(seconds=longest) < timedelta(hours=84)
    assert max(delays) <= timedelta(hours=12).total_seconds()
    assert timedelta(days=5).total_seconds() > rules.LONGEST_PAUSE_S
