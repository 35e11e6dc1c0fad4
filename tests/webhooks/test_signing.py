"""Signatures by Standard Webhooks, verified by its library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app import standard_webhooks
from app.webhooks import signing
from events import new_id

BODY = '{"type":"robot.job.completed","data":{"city":"Bogotá"}}'


def test_the_library_accepts_a_signature() -> None:
    """For the time of the attempt in any zone, and not for another body or id."""
    secret, message_id = signing.new_secret(), new_id()
    at = datetime.now(timezone(timedelta(hours=-5)))
    headers = dict(signing.headers(message_id, at, BODY, [standard_webhooks.key(secret)]))
    reader = Webhook(secret.get_secret_value())
    reader.verify(BODY, headers)
    assert headers["webhook-id"] == str(message_id)
    for body, changed in ((BODY + " ", {}), (BODY, {"webhook-id": str(new_id())})):
        with pytest.raises(WebhookVerificationError):
            reader.verify(body, {**headers, **changed})


def test_each_of_two_keys_signs() -> None:
    """A receiver that knows one of them accepts the request."""
    secrets = [signing.new_secret() for _ in range(3)]
    keys = [standard_webhooks.key(one) for one in secrets[:2]]
    headers = dict(signing.headers(new_id(), datetime.now(UTC), BODY, keys))
    assert len(headers["webhook-signature"].split(" ")) == 2
    for one in secrets[:2]:
        Webhook(one.get_secret_value()).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[2].get_secret_value()).verify(BODY, headers)


def test_a_secret_is_new_and_as_specified() -> None:
    """32 bytes of base64 after `whsec_`, which are never printed by accident."""
    one, other = signing.new_secret(), signing.new_secret()
    assert one != other
    assert one.get_secret_value().startswith("whsec_")
    assert len(standard_webhooks.key(one)) == 32
    assert "whsec_" not in f"{one} {one!r}"
