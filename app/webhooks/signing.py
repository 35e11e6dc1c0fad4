"""Sign requests by Standard Webhooks: make secrets, read them strictly, and write the headers. Pure but for chance."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from pydantic import SecretStr
from standardwebhooks import Webhook

from app.errors import Permanent

_PREFIX = "whsec_"
_BYTES = 32
_FEWEST_BYTES, _MOST_BYTES = 24, 64
"""By the specification."""


def new_secret() -> SecretStr:
    """Return a new secret: `whsec_` and 32 random bytes as base64."""
    return SecretStr(_PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode())


def key_of(secret: SecretStr) -> bytes:
    """Return the key that a secret names. Raises `Permanent` unless it is `whsec_` and 24 to 64 bytes as base64.

    Strict, because `standardwebhooks` drops characters outside base64's alphabet: a damaged secret would silently
    become another key.
    """
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(_PREFIX) or not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise Permanent("the secret is not whsec_ and 24 to 64 bytes as base64; `webhooks rotate` makes a new one")
    return key


def headers(message_id: UUID, at: datetime, body: str, keys: Sequence[bytes]) -> Mapping[str, str]:
    """Return the headers of a request. `at`: the time of the attempt. `keys`: the current one first.

    During a rotation the signature header has one signature a key, and a receiver accepts any of them.
    """
    now = at.astimezone(UTC)
    signatures = [Webhook(key).sign(str(message_id), now, body) for key in keys]
    return {
        "Content-Type": "application/json",
        "webhook-id": str(message_id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
