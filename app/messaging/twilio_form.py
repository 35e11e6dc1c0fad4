"""Read the form fields that Twilio posts for a message: sender, channel and the names of a person. Pure.

A sender is written as `CHANNEL:ADDRESS`; without a channel it is SMS. The address is a phone number, or an id of the
channel: a person with a WhatsApp username has no number, and `From` holds the business-scoped user id
(`whatsapp:CO.1502576394655843`), which `ExternalUserId` holds for everybody. `WaId` is the number without `+`.

Fields may repeat and may be blank: the first value that is not blank counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from app.errors import InvalidInput
from app.messaging.numbers import e164, written

Fields = tuple[tuple[str, str], ...]
"""Names and values of form fields, in the order in which they were posted."""
SourceType = Literal["dm", "group"]

SMS, WHATSAPP = "sms", "whatsapp"
_OF_NUMBERS = frozenset({SMS, WHATSAPP, "rcs"})
"""The channels whose addresses are numbers."""
NUMBER = "number"
"""The kind of an alias that is a number. Any other kind is the name of the channel whose id it is."""
_LONGEST = 200
"""Most characters of an id or an address."""
_GROUPS = ("GroupId", "ConversationSid")
"""Fields that name a channel with several participants: a WhatsApp group, a conversation of Twilio."""
_GROUP = re.compile(r".+@g\.us|group:.+", re.IGNORECASE)
_USER_ID = re.compile(r"\+?([A-Za-z]{2})\.?((?:ENT\.)?[0-9A-Za-z]*[0-9][0-9A-Za-z]*)")
"""A business-scoped user id: country, period, letters and digits. It also arrives as `+CO1502576394655843`."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, order=True)
class Alias:
    """A name of a person: a spelling of the number, or an id of a channel. `kind`: `number`, or the channel."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it was posted.

    `message_id`: Twilio's MessageSid. `name`: the E.164 number of the sender, else an id. `aliases`: all names of the
    sender, `name` first. `sender`: as the channel writes it. `channel_id`: the group, or the sender.
    """

    message_id: str
    name: str
    aliases: tuple[Alias, ...]
    first_name: str | None
    sender: str
    channel_id: str
    source_type: SourceType
    fields: Fields


def incoming(fields: Iterable[tuple[str, str]]) -> Incoming:
    """Read the fields of a message. Raises `InvalidInput`, with the field's name, without a message id or a sender."""
    kept = storable(fields)
    message_id = _required(kept, "MessageSid", "SmsMessageSid", "SmsSid")
    sender = _sender(kept)
    aliases = _aliases(kept, sender)
    group = _group(kept, sender)
    return Incoming(
        message_id=message_id,
        name=aliases[0].name,
        aliases=aliases,
        first_name=value(kept, "ProfileName"),
        sender=sender,
        channel_id=group or sender,
        source_type="group" if group else "dm",
        fields=kept,
    )


def storable(fields: Iterable[tuple[str, str]]) -> Fields:
    """Return fields in a form that PostgreSQL stores: NUL and half surrogate pairs become U+FFFD."""
    return tuple((_UNSTORABLE.sub("�", name), _UNSTORABLE.sub("�", said)) for name, said in fields)


def value(fields: Fields, *names: str) -> str | None:
    """Return the first value of the first of these fields that is not blank, without spaces around it."""
    found = (said.strip() for wanted in names for name, said in fields if name == wanted)
    return next((said for said in found if said), None)


def _sender(fields: Fields) -> str:
    """Return the sender as the channel writes it. A message of a group names its author apart."""
    found = _short(fields, "Author", "From")
    user_id = _short(fields, "ExternalUserId")
    return found or (f"{WHATSAPP}:{user_id}" if user_id else _required(fields, "From"))


def _required(fields: Fields, *names: str) -> str:
    if (found := _short(fields, *names)) is None:
        raise InvalidInput(f"{names[0]}: is missing or blank; Twilio sends it with every message")
    return found


def _short(fields: Fields, *names: str) -> str | None:
    """Return the value of the first of these fields that has one. Raises `InvalidInput` if it is too long."""
    name, found = next(((name, found) for name in names if (found := value(fields, name))), ("", None))
    if found is not None and len(found) > _LONGEST:
        raise InvalidInput(f"{name}: has {len(found)} characters, at most {_LONGEST} are allowed")
    return found


def _aliases(fields: Fields, sender: str) -> tuple[Alias, ...]:
    """Return the names of the sender, each once: the E.164 number first if there is one."""
    channel, address = _split(sender)
    wa_id, user_id = _short(fields, "WaId"), _short(fields, "ExternalUserId")
    names = [*_names(WHATSAPP, wa_id)] if wa_id else []
    names += [_id(WHATSAPP, user_id)] if user_id else []
    if not (names and _GROUP.fullmatch(address)):  # a group's id is no name of the person who writes to it
        names = [*_names(channel, address), *names]
    return tuple(dict.fromkeys(sorted(names, key=lambda one: one.kind != NUMBER)))


def _names(channel: str, address: str) -> Sequence[Alias]:
    """Return the names that an address gives: the E.164 number and its spelling, or an id."""
    # An SMS address without + is a short code; Messenger's ids are digits, too.
    spelling = f"+{address}" if channel == WHATSAPP and address.isdigit() else address
    number = e164(spelling) if channel in _OF_NUMBERS and spelling.startswith("+") else None
    if number is None:
        return [_id(channel, address)]
    return [Alias(number, NUMBER), Alias(written(spelling) or number, NUMBER)]


def _id(channel: str, address: str) -> Alias:
    if channel == WHATSAPP and (found := _USER_ID.fullmatch(address)):
        address = f"{found[1].upper()}.{found[2]}"
    return Alias(f"{channel}:{address}", channel)


def _split(sender: str) -> tuple[str, str]:
    """Split a sender into channel and address."""
    channel, colon, address = sender.partition(":")
    return (channel.lower(), address.strip()) if colon and channel.isalpha() and address.strip() else (SMS, sender)


def _group(fields: Fields, sender: str) -> str | None:
    """Return the id of the group that the message was sent to; None for a direct message."""
    addresses = (one for one in (sender, value(fields, "From"), value(fields, "To")) if one)
    return _short(fields, *_GROUPS) or next((one for one in addresses if _GROUP.fullmatch(_split(one)[1])), None)
