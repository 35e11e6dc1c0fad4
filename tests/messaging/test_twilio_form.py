"""Form fields of Twilio: the sender's names, the channel, and what is no message."""

from __future__ import annotations

import pytest

from app.errors import InvalidInput
from app.messaging.fixtures.chat import form
from app.messaging.twilio_form import incoming, storable, value


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["+573011234567"]),
        ({"From": "+573011234567", "WaId": ""}, ["+573011234567"]),
        ({"From": "whatsapp:+5215512345678", "WaId": "5215512345678"}, ["+525512345678", "+5215512345678"]),
        ({"From": "whatsapp: 573011234567", "WaId": ""}, ["+573011234567"]),
        ({"From": "WhatsApp:573011234567"}, ["+573011234567"]),
        ({"ExternalUserId": "CO.17"}, ["+573011234567", "whatsapp:CO.17"]),
        ({"From": "whatsapp:CO.17", "WaId": ""}, ["whatsapp:CO.17"]),
        ({"From": "whatsapp:+CO17", "WaId": ""}, ["whatsapp:CO.17"]),
        ({"From": "whatsapp:co.ENT.17", "WaId": ""}, ["whatsapp:CO.ENT.17"]),
        ({"From": "", "WaId": "", "ExternalUserId": "CO.17"}, ["whatsapp:CO.17"]),
        ({"From": "whatsapp:CO.17", "ExternalUserId": "CO.17"}, ["+573011234567", "whatsapp:CO.17"]),
        ({"From": "messenger:+12345678901", "WaId": ""}, ["messenger:+12345678901"]),
        ({"From": "messenger:1234567890", "WaId": ""}, ["messenger:1234567890"]),
        ({"From": "rcs:+573011234567", "WaId": ""}, ["+573011234567"]),
        ({"From": "73529", "WaId": ""}, ["sms:73529"]),
        ({"From": "TWILIO", "WaId": ""}, ["sms:TWILIO"]),
        ({"From": "+999123456789", "WaId": ""}, ["+999123456789"]),
        ({"From": "whatsapp:123@g.us", "WaId": "573011234567"}, ["+573011234567"]),
    ],
)
def test_the_names_of_a_sender(fields: dict[str, str], names: list[str]) -> None:
    """The number first, then its spelling and the ids, each once."""
    found = incoming(form(**fields))
    assert [alias.name for alias in found.aliases] == names
    assert found.name == names[0]
    assert {alias.kind for alias in found.aliases if alias.name.startswith("+")} <= {"number"}


@pytest.mark.parametrize(
    ("fields", "source_type", "channel_id"),
    [
        ({}, "dm", "whatsapp:+573011234567"),
        ({"GroupId": " "}, "dm", "whatsapp:+573011234567"),
        ({"GroupId": "Y2FwaV9n"}, "group", "Y2FwaV9n"),
        ({"ConversationSid": "CH1", "Author": "+573011234567"}, "group", "CH1"),
        ({"From": "whatsapp:123-456@g.us"}, "group", "whatsapp:123-456@g.us"),
        ({"To": "whatsapp:group:Y2FwaV9n"}, "group", "whatsapp:group:Y2FwaV9n"),
    ],
)
def test_the_channel(fields: dict[str, str], source_type: str, channel_id: str) -> None:
    """A group is kept by its id, a direct message by its sender."""
    found = incoming(form(**fields))
    assert (found.source_type, found.channel_id) == (source_type, channel_id)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"MessageSid": ""}, "MessageSid: is missing or blank"),
        ({"MessageSid": "S" * 201}, "MessageSid: has 201 characters, at most 200"),
        ({"From": " ", "WaId": ""}, "From: is missing or blank"),
        ({"From": "5" * 201}, "From: has 201 characters"),
        ({"WaId": "5" * 201}, "WaId: has 201 characters"),
        ({"GroupId": "5" * 201}, "GroupId: has 201 characters"),
    ],
)
def test_what_is_no_message(fields: dict[str, str], problem: str) -> None:
    """The field is named."""
    with pytest.raises(InvalidInput, match=problem):
        incoming(form(**fields))


def test_the_first_value_that_is_not_blank_counts() -> None:
    """Fields repeat, and may be blank. All of them are kept."""
    fields = (("From", " "), ("From", "+573011234567"), ("From", "+573021234567"), ("SmsSid", "SM2"), ("Body", ""))
    found = incoming(fields)
    assert (found.name, found.message_id, found.first_name, found.fields) == ("+573011234567", "SM2", None, fields)


def test_what_postgresql_cannot_store_is_replaced() -> None:
    """NUL and half surrogate pairs, also in names."""
    assert storable([("a\x00", "b\ud800c")]) == (("a�", "b�c"),)


def test_a_field_that_is_missing_has_no_value() -> None:
    """Nor one that is blank."""
    assert value((("Body", "  "),), "Body", "Caption") is None
