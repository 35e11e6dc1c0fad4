"""Sign requests by Standard Webhooks: make secrets, and write the headers. `app.standard_webhooks` reads secrets."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from pydantic import SecretStr
from standardwebhooks import Webhook

from app.standard_webhooks import PREFIX

_BYTES = 32


def new_secret() -> SecretStr:
    """Return a new secret: `whsec_` and 32 random bytes as base64."""
    return SecretStr(PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode())


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
