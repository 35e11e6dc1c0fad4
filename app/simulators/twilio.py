"""Messages as Twilio posts them to a webhook, signed by Twilio's own helper library.

Fields and their order follow captured requests; numbers, names and ids are made up.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic import SecretStr
from twilio.request_validator import RequestValidator

Form = Mapping[str, str | Sequence[str]]
"""The fields of a message. A field with several values is repeated."""


@dataclass(frozen=True, slots=True)
class Line:
    """A number of ours at Twilio. `url`: the webhook that Twilio calls. `secret`: signs its requests."""

    url: str
    account_sid: str
    secret: SecretStr
    number: str = "+12025550142"


class _Fields(dict[str, Sequence[str]]):
    """Fields as Twilio's library reads repeated ones."""

    def getall(self, name: str) -> Sequence[str]:
        """Return the values of a field."""
        return self[name]


def sid(prefix: str) -> str:
    """Return a new id as Twilio makes them: a prefix and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)


def sms(line: Line, sender: str, body: str, *, message_sid: str | None = None, city: str = "") -> dict[str, str]:
    """Return the fields of an SMS from the number `sender`."""
    message_sid = message_sid or sid("SM")
    return {
        "ToCountry": "US",
        "ToState": "DC",
        "SmsMessageSid": message_sid,
        "NumMedia": "0",
        "ToCity": "WASHINGTON",
        "FromZip": "",
        "SmsSid": message_sid,
        "FromState": "",
        "SmsStatus": "received",
        "FromCity": city,
        "Body": body,
        "FromCountry": "CO",
        "To": line.number,
        "ToZip": "20001",
        "NumSegments": "1",
        "MessageSid": message_sid,
        "AccountSid": line.account_sid,
        "From": sender,
        "ApiVersion": "2010-04-01",
    }


def whatsapp(
    line: Line, sender: str, body: str, *, message_sid: str | None = None, profile_name: str = "Ana", **more: str
) -> dict[str, str]:
    """Return the fields of a WhatsApp message from `sender`, a number or an id. `more`: further fields."""
    message_sid = message_sid or sid("SM")
    wa_id = sender.removeprefix("+")
    context = {"ProfileName": profile_name, "WaId": wa_id, **more}
    return {
        "SmsMessageSid": message_sid,
        "NumMedia": "0",
        "ProfileName": profile_name,
        "MessageType": "text",
        "SmsSid": message_sid,
        "WaId": wa_id,
        "SmsStatus": "received",
        "Body": body,
        "To": f"whatsapp:{line.number}",
        "NumSegments": "1",
        "ReferralNumMedia": "0",
        "MessageSid": message_sid,
        "AccountSid": line.account_sid,
        "ChannelMetadata": json.dumps({"type": "whatsapp", "data": {"context": context}}, separators=(",", ":")),
        "From": f"whatsapp:{sender}",
        "ApiVersion": "2010-04-01",
        **more,
    }


def with_media(fields: Mapping[str, str], *content_types: str) -> dict[str, str]:
    """Return a message with media of these types instead of a text."""
    message_sid = sid("MM")
    base = f"https://api.twilio.com/2010-04-01/Accounts/{fields['AccountSid']}/Messages/{message_sid}/Media/"
    media = {f"MediaContentType{n}": content_type for n, content_type in enumerate(content_types)}
    urls = {f"MediaUrl{n}": base + sid("ME") for n, _ in enumerate(content_types)}
    named = dict.fromkeys(("MessageSid", "SmsSid", "SmsMessageSid"), message_sid)
    return {**fields, **named, "Body": "", "NumMedia": str(len(content_types)), **media, **urls}


def in_conversation(line: Line, author: str, body: str, *, others: Sequence[str]) -> Form:
    """Return the fields of a message to a group: a conversation of `author` and `others`."""
    return {
        "MessagingServiceSid": sid("MG"),
        "RetryCount": "0",
        "EventType": "onMessageAdded",
        "Attributes": "{}",
        "DateCreated": "2026-11-28T15:04:05.678Z",
        "Author": author,
        "Index": "0",
        "ChatServiceSid": sid("IS"),
        "MessageSid": sid("IM"),
        "AccountSid": line.account_sid,
        "Source": "SMS",
        "Body": body,
        "ConversationSid": sid("CH"),
        "ParticipantSid": sid("MB"),
        "MessagingBinding.Address": list(others),
    }


def encoded(fields: Form) -> bytes:
    """Return the body of the request."""
    return urlencode(fields, doseq=True).encode()


def headers(line: Line, fields: Form) -> dict[str, str]:
    """Return the headers of the request, with the signature of Twilio's library."""
    values = _Fields({name: [value] if isinstance(value, str) else value for name, value in fields.items()})
    signature: str = RequestValidator(line.secret.get_secret_value()).compute_signature(line.url, values)
    return {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "X-Twilio-Signature": signature,
        "User-Agent": "TwilioProxy/1.1",
    }
