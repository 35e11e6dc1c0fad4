"""Verify that a request was sent by Twilio.

Twilio's own validator checks the signature over the public URL and the fields. It raises for some malformed requests,
and it accepts changed ones that it cannot tell from the signed one: `verify()` refuses both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hmac import compare_digest

from pydantic import SecretStr
from twilio.request_validator import RequestValidator, get_signature_algorithm

from app.web.webhooks.fields import Ambiguous, Fields, Refused
from app.web.webhooks.form import read_form
from app.web.webhooks.twilio_reading import ambiguous, impossible, known_fields

_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{43}=")
"""HMAC-SHA1 or HMAC-SHA256 in base64."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A request as it arrived.

    `url`: the public URL with path and query as they were sent, not decoded. `signature`, `signature_settings`: the
    headers `X-Twilio-Signature` and `X-Twilio-Webhooks-Signature-Settings`.
    """

    url: str
    content_type: str | None
    body: bytes
    signature: str | None
    signature_settings: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account of Twilio. `secrets`: those that sign its requests, at most two while one replaces the other."""

    account_sid: str
    secrets: Sequence[SecretStr] = field(repr=False)


class _SignedFields(dict[str, Sequence[str]]):
    """Fields as Twilio's validator reads repeated ones."""

    def getall(self, name: str) -> Sequence[str]:
        """Return the values of a field."""
        return self[name]


def verify(posted: Posted, account: Account) -> Fields:
    """Return the known fields of a request that Twilio sent for `account`.

    Raises `Refused` for any other request; `Ambiguous` if only the fields are not certain.
    """
    if posted.signature is None or not _SIGNATURE.fullmatch(posted.signature):
        raise Refused("x-twilio-signature: is missing or no signature")
    # The validator never gets a body that is no form: it would accept JSON by a hash in the query alone, and Twilio
    # sends no message as JSON.
    fields = read_form(posted.content_type, posted.body)
    if not any(_is_signed(posted, fields, secret) for secret in account.secrets):
        raise Refused("x-twilio-signature: does not fit the URL and the fields")
    if fields.get("AccountSid") != (account.account_sid,):
        raise Refused("AccountSid: is not the account of this endpoint")
    if problem := impossible(fields):
        raise Refused(problem)
    if other := ambiguous(fields):
        raise Ambiguous(other, fields)
    return known_fields(fields)


def _is_signed(posted: Posted, fields: Fields, secret: SecretStr) -> bool:
    algorithm = get_signature_algorithm(posted.signature_settings)
    validator = RequestValidator(secret.get_secret_value())
    signed = _SignedFields(fields)
    try:
        # Nearly always the URL is signed as it is. `validate()` computes two signatures: with the port and without.
        expected = str(validator.compute_signature(posted.url, signed, algorithm))
        return compare_digest(expected, posted.signature or "") or bool(
            validator.validate(posted.url, signed, posted.signature, algorithm)
        )
    except ValueError:  # an algorithm that Twilio does not have, or a URL that urllib cannot split
        return False
