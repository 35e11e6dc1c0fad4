"""Secrets and signatures of Standard Webhooks."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from app.errors import InvalidInput
from app.standard_webhooks import Unverified, key, verify

RAW = bytes(range(200, 232))  # in base64 it has + and /, which base64url writes otherwise
TEXT = base64.b64encode(RAW).decode()
BODY = '{"city": "Bogotá"}'.encode()


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip("="), f"whsec_{TEXT}", f"whsec_{TEXT.rstrip('=')}"])
def test_a_secret_is_read_as_providers_show_it(text: str) -> None:
    """With and without prefix or padding, a secret is the same key."""
    assert key(SecretStr(text)) == RAW


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (base64.urlsafe_b64encode(RAW).decode(), "base64url"),
        (f" {TEXT}", "white space"),
        (f"{TEXT}\n", "white space"),
        (f"{TEXT[:10]} {TEXT[10:]}", "white space"),
        (f"whsec_{TEXT[:24]}", "18 bytes"),
        (base64.b64encode(b"x" * 65).decode(), "65 bytes"),
        ("", "0 bytes"),
        ("whsec_", "0 bytes"),
        ("a secret in words?", "white space"),
        ("äöü" * 12, "not base64"),
        (f"{TEXT}=A", "not base64"),
        (TEXT[:41], "not base64"),
        (f"whsk_{TEXT}", "asymmetric"),
        (f"whpk_{TEXT}", "asymmetric"),
    ],
)
def test_a_wrong_secret_is_refused_by_name(text: str, problem: str) -> None:
    """A secret that would be read as another key is refused. The message has no part of it."""
    with pytest.raises(InvalidInput, match=f"^secret: .*{problem}") as caught:
        key(SecretStr(text))
    assert len(text) < 8 or text[6:] not in str(caught.value)


def signed(
    *, by: bytes = RAW, at: datetime | None = None, message_id: str = "msg_1", body: bytes = BODY
) -> dict[str, str]:
    """Return the headers of a signed request."""
    at = at or datetime.now(UTC)
    signature = Webhook(by).sign(message_id, at, body.decode())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def test_each_of_two_keys_verifies() -> None:
    """During a rotation a request is signed with the old key, the new one, or both."""
    other = b"another key, of 32 bytes in all."
    both = signed() | {
        "webhook-signature": f"{signed(by=other)['webhook-signature']} v1a,AAAA {signed()['webhook-signature']}"
    }
    for headers in (signed(), both):
        assert verify([other, RAW], headers, BODY) == "msg_1"
        assert verify([RAW], headers, BODY) == "msg_1"


@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        ({}, BODY + b" ", "webhook-signature: fits none"),
        ({}, b"\xff\xfe", "webhook-signature: does not fit"),
        ({"webhook-id": "msg_2"}, BODY, "webhook-signature: fits none"),
        ({"webhook-id": "msg.2"}, BODY, "webhook-id: must"),
        ({"webhook-id": None}, BODY, "webhook-id: is missing"),
        ({"webhook-timestamp": "1764340000000"}, BODY, "milliseconds"),
        ({"webhook-timestamp": "1764340000.5"}, BODY, "webhook-timestamp: must"),
        ({"webhook-timestamp": "nan"}, BODY, "webhook-timestamp: must"),
        ({"webhook-timestamp": "1764340000"}, BODY, "webhook-timestamp: is not within"),
        ({"webhook-signature": "v1"}, BODY, "webhook-signature: must"),
        ({"webhook-signature": "v1,AAA"}, BODY, "webhook-signature: does not fit"),
        ({"webhook-signature": "v1,é"}, BODY, "webhook-signature: must"),
        ({"webhook-signature": None}, BODY, "webhook-signature: is missing"),
    ],
)
def test_any_other_request_is_refused(headers: dict[str, str | None], body: bytes, problem: str) -> None:
    """A changed, malformed or old request is refused, and the message names the header."""
    given = {name: value for name, value in (signed() | headers).items() if value is not None}
    with pytest.raises(Unverified, match=problem):
        verify([RAW], given, body)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_request_outside_the_window_is_refused(minutes: int) -> None:
    """A signature is valid for five minutes in both directions, so a captured request cannot be replayed later."""
    with pytest.raises(Unverified, match="five minutes"):
        verify([RAW], signed(at=datetime.now(UTC) + timedelta(minutes=minutes)), BODY)


def test_without_a_key_nothing_verifies() -> None:
    """A workspace without a secret accepts no request."""
    with pytest.raises(Unverified):
        verify([], signed(), BODY)
