"""Requests that are signed by Standard Webhooks: read secrets, and verify signatures.

`standardwebhooks` computes the signatures. It decodes secrets leniently, so a secret in another alphabet
becomes another key without an error, and it raises bare errors for malformed headers. This module checks both first.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence

from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from app.errors import InvalidInput

PREFIX = "whsec_"
_SHORTEST_BYTES = 24
_LONGEST_BYTES = 64
"""Lengths of a secret, from the specification."""

_ID = re.compile(r"[!-\-/-~]{1,256}")
_SECONDS = re.compile(r"[0-9]{10}")
_SIGNATURES = re.compile(r"v[0-9]+[a-z]?,[A-Za-z0-9+/=]{1,200}(?: v[0-9]+[a-z]?,[A-Za-z0-9+/=]{1,200}){0,15}")


class Unverified(Exception):
    """The request is not signed with a secret of ours, or too old. The message names the header."""


def key(secret: SecretStr) -> bytes:
    """Return the key that a secret stands for: base64, with or without `whsec_`, with or without padding.

    Raises `InvalidInput` for text that is no such secret. The message shows no part of it.
    """
    text = secret.get_secret_value()
    if text.startswith(("whsk_", "whpk_")):
        raise InvalidInput(f"secret: is a key of asymmetric signatures; give a shared secret ({PREFIX}...)")
    text = text.removeprefix(PREFIX)
    if re.search(r"\s", text):
        raise InvalidInput("secret: holds white space; copy it again")
    if re.search(r"[-_]", text):
        raise InvalidInput("secret: is base64url (it holds - or _); give it in base64, with + and /")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("secret: is not base64; copy it again, as the provider shows it") from None
    if not _SHORTEST_BYTES <= len(decoded) <= _LONGEST_BYTES:
        raise InvalidInput(f"secret: has {len(decoded)} bytes; {_SHORTEST_BYTES} to {_LONGEST_BYTES} are allowed")
    return decoded


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes) -> str:
    """Return the message's id (`webhook-id`) if one of `keys` has signed the raw `body`. Raises `Unverified`.

    `headers` have lower-case names. The time stamp must be within five minutes of this host's clock.
    """
    message_id = _header(headers, "webhook-id", _ID, "must be 1 to 256 printable characters, without a full stop")
    _header(headers, "webhook-timestamp", _SECONDS, "must be a Unix time in seconds, not in milliseconds")
    _header(headers, "webhook-signature", _SIGNATURES, "must be a list of version,base64")
    reason = "webhook-signature: fits none of the secrets"
    for one in keys:
        try:
            Webhook(one).verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            if "timestamp" in str(error):
                reason = "webhook-timestamp: is not within five minutes of now"
        except ValueError:  # a body that is no UTF-8, a signature that is no base64
            reason = "webhook-signature: does not fit the body"
        else:
            return message_id
    raise Unverified(reason)


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str], problem: str) -> str:
    value = headers.get(name)
    if value is None:
        raise Unverified(f"{name}: is missing")
    if not form.fullmatch(value):
        raise Unverified(f"{name}: {problem}")
    return value
