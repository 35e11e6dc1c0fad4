"""The fields of Twilio's messages, and which values each of them can have.

Sources: Twilio's lists of parameters for incoming messages (twilio.com/docs/messaging/guides/webhook-request) and for
messages of conversations, that is, of groups (twilio.com/docs/conversations/conversations-webhooks), and captured
requests for the fields that the lists leave out. Twilio adds fields without notice: a field that is missing here is no
error by itself (`twilio_reading`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

REQUIRED = (("AccountSid", "From", "MessageSid", "To"), ("AccountSid", "Author", "ConversationSid", "MessageSid"))
"""Fields that every message has, and those that every message of a conversation has."""

_NAME = re.compile(r"[A-Z][A-Za-z0-9_.]{0,63}")
_NUMBERED = re.compile(r"(MediaContentType|MediaUrl)(?:0|[1-9][0-9]?)")

Allows = Callable[[str], object]


def _matching(pattern: str) -> Allows:
    return re.compile(pattern, re.DOTALL).fullmatch


def _json(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict | list)
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class Field:
    """What a value of the field can be.

    `allows`: whether the field can have a value. `is_text`: whether people or companies write it. `repeats`: whether
    the field may have several values.
    """

    allows: Allows
    is_text: bool = False
    repeats: bool = False


def _sid(prefix: str) -> Field:
    return Field(_matching(f"(?:{prefix})[0-9a-f]{{32}}"))


_TEXT = Field(_matching(".*"), is_text=True)
_NUMBER = Field(_matching("[0-9]{1,9}"))
_DEGREES = Field(_matching(r"-?[0-9]{1,3}(?:\.[0-9]{1,20})?"))
_BOOLEAN = Field(_matching("true|false"))
_WORD = Field(_matching("[A-Za-z0-9_-]{0,64}"))
_ID = Field(_matching("[A-Za-z0-9_=.-]{0,300}"))
_GROUP = Field(_matching("[A-Za-z0-9_.@:-]{1,200}"))
_ADDRESS = Field(
    _matching(
        r"\+?[0-9]{1,20}|[a-z]+:\+?[0-9]{1,20}"  # a number, or one within a channel: whatsapp:+573001112233
        r"|[a-z]+:[A-Za-z][A-Za-z0-9_.@:-]{0,199}"  # an id within a channel: whatsapp:CO.1234567890
        r"|[A-Za-z0-9 _.&@-]{1,64}"  # the name of a company that sends without a number, or of a chat's user
    )
)
_PLACE = Field(_matching(r"[\w .,'()/&-]{0,100}"))
_CODE = Field(_matching("[A-Z]{0,2}"))
_ZIP = Field(_matching("[0-9A-Z -]{0,12}"))
_URL = Field(_matching(r"https?://[!-~]{1,2000}|"))
_MIME = Field(_matching(r"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(?:\s*;[ -~]{0,200})?|"))
_JSON = Field(_json)
_TIME = Field(_matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}(?:Z|[+-][0-9]{2}:?[0-9]{2})"))
_MESSAGE_SID = _sid("SM|MM|IM")

_FIELDS = {
    "AccountSid": _sid("AC"),
    "AddOns": _JSON,
    "Address": _TEXT,
    "ApiVersion": Field(_matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")),
    "Attributes": _JSON,
    "Author": _ADDRESS,
    "Body": _TEXT,
    "ButtonPayload": _TEXT,
    "ButtonText": _TEXT,
    "ChannelInstallSid": _sid("XE"),
    "ChannelMetadata": _JSON,
    "ChannelPrefix": _WORD,
    "ChannelToAddress": _ADDRESS,
    "ChatServiceSid": _sid("IS"),
    "ClientIdentity": _ADDRESS,
    "ConversationSid": _sid("CH"),
    "DateCreated": _TIME,
    "EventType": _WORD,
    "ExternalUserId": _ADDRESS,
    "Forwarded": _BOOLEAN,
    "FrequentlyForwarded": _BOOLEAN,
    "From": _ADDRESS,
    "FromCity": _PLACE,
    "FromCountry": _CODE,
    "FromState": _PLACE,
    "FromZip": _ZIP,
    "GroupId": _GROUP,
    "Index": _NUMBER,
    "InteractiveData": _JSON,
    "Label": _TEXT,
    "Latitude": _DEGREES,
    "ListId": _TEXT,
    "ListTitle": _TEXT,
    "Longitude": _DEGREES,
    "Media": _JSON,
    "MessageSid": _MESSAGE_SID,
    "MessageStatus": _WORD,
    "MessageType": _WORD,
    "MessagingBinding.Address": Field(_ADDRESS.allows, repeats=True),
    "MessagingServiceSid": _sid("MG"),
    "NumMedia": _NUMBER,
    "NumSegments": _NUMBER,
    "OptOutType": _WORD,
    "OriginalRepliedMessageSender": _ADDRESS,
    "OriginalRepliedMessageSid": _MESSAGE_SID,
    "ParticipantSid": _sid("MB"),
    "ProfileName": _TEXT,
    "ReferralBody": _TEXT,
    "ReferralCtwaClid": _ID,
    "ReferralHeadline": _TEXT,
    "ReferralMediaContentType": _MIME,
    "ReferralMediaId": _ID,
    "ReferralMediaUrl": _URL,
    "ReferralNumMedia": _NUMBER,
    "ReferralSourceId": _ID,
    "ReferralSourceType": _WORD,
    "ReferralSourceUrl": _URL,
    "RetryCount": _NUMBER,
    "SmsMessageSid": _MESSAGE_SID,
    "SmsSid": _MESSAGE_SID,
    "SmsStatus": _WORD,
    "Source": _WORD,
    "To": _ADDRESS,
    "ToCity": _PLACE,
    "ToCountry": _CODE,
    "ToState": _PLACE,
    "ToZip": _ZIP,
    "WaId": _ID,
}
_NUMBERED_FIELDS = {"MediaContentType": _MIME, "MediaUrl": _URL}


def field(name: str) -> Field | None:
    """Return the field of this name; None if it is unknown."""
    if (found := _FIELDS.get(name)) is not None:
        return found
    numbered = _NUMBERED.fullmatch(name)
    return _NUMBERED_FIELDS[numbered[1]] if numbered else None


def is_name(name: str) -> bool:
    """Whether a field could have this name: letters, digits, `_` and `.`, and a capital first."""
    return bool(_NAME.fullmatch(name))


def names_in(text: str) -> Iterator[tuple[int, str]]:
    """Find the known names in a text. Yields where each begins, and the name; names may overlap."""
    if not _ANY_NAME.search(text):  # as nearly always
        return
    for capital in _CAPITAL.finditer(text):
        start = capital.start()
        yield from ((start, name) for name in _BY_CAPITAL.get(text[start], ()) if text.startswith(name, start))
        if numbered := _NUMBERED.match(text, start):
            yield start, numbered[0]


_CAPITAL = re.compile("[A-Z]")
_BY_CAPITAL = {letter: [name for name in _FIELDS if name[0] == letter] for letter in {name[0] for name in _FIELDS}}
_ANY_NAME = re.compile("|".join([*_FIELDS, *_NUMBERED_FIELDS]))
