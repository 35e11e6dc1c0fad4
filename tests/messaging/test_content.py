"""What a message contains: its type, and its normalised content."""

from __future__ import annotations

import pytest

from app.messaging.content import Location, Media, read
from app.messaging.fixtures.chat import form
from events.messaging import ContentType

URL = "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages/MM0/Media/ME"


def media(*types: str) -> dict[str, str]:
    """Return the fields of files with these media types."""
    urls = {f"MediaUrl{number}": f"{URL}{number}" for number in range(len(types))}
    return {"NumMedia": str(len(types)), **urls, **{f"MediaContentType{n}": one for n, one in enumerate(types)}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "text"),
        ({"Body": "see https://example.org"}, "text"),
        ({"Body": "https://example.org/a?b=c#d"}, "link"),
        ({"Body": " https://example.org\nhttp://example.com "}, "link"),
        ({"Body": "www.example.org"}, "link"),
        ({"Body": "HTTPS://EXAMPLE.ORG/A."}, "text"),
        ({"Body": "https://"}, "text"),
        ({"Body": "", "ButtonText": "Yes", "ButtonPayload": "yes"}, "text"),
        ({"Body": "  "}, "unknown"),
        ({"Body": "", **media("image/jpeg")}, "image"),
        ({"Body": "a caption https://example.org", **media("image/jpeg")}, "image"),
        ({"Body": "", **media("image/webp")}, "image"),
        ({"Body": "", **media("audio/ogg; codecs=opus")}, "audio"),
        ({"Body": "", **media("application/ogg")}, "audio"),
        ({"Body": "", **media("VIDEO/mp4")}, "video"),
        ({"Body": "", **media("video/3gpp")}, "video"),
        ({"Body": "Ana", **media("text/vcard")}, "contact"),
        ({"Body": "", **media("text/x-vcard; charset=utf-8")}, "contact"),
        ({"Body": "invoice.pdf", **media("application/pdf")}, "unknown"),
        ({"Body": "", **media("")}, "unknown"),
        ({"Body": "", **media("application/pdf", "image/png", "video/mp4")}, "image"),
        ({"Body": "", **media("image/png"), "NumMedia": ""}, "image"),
        ({"NumMedia": "3"}, "text"),
        ({"Latitude": "4.6097", "Longitude": "-74.0817"}, "location"),
        ({"Latitude": "0", "Longitude": "0", **media("image/png")}, "location"),
        ({"Latitude": "4.6097", "Longitude": ""}, "text"),
        ({"Latitude": "91", "Longitude": "0"}, "text"),
        ({"Latitude": "nan", "Longitude": "0"}, "text"),
        ({"Latitude": "north", "Longitude": "0", "Body": ""}, "unknown"),
    ],
)
def test_the_type_of_a_message(fields: dict[str, str], expected: ContentType) -> None:
    """A location before media, media before a link, a link before text; any other file is unknown."""
    assert read(form(**fields)).type == expected


def test_the_content_of_media_has_every_file_and_the_caption() -> None:
    """In their order, also those that do not decide the type."""
    found = read(form(Body="look: https://example.org/a.", **media("application/pdf", "image/png")))
    assert (found.text, found.links) == ("look: https://example.org/a.", ("https://example.org/a",))
    assert found.media == (
        Media(url=f"{URL}0", content_type="application/pdf"),
        Media(url=f"{URL}1", content_type="image/png"),
    )


def test_the_content_of_a_location() -> None:
    """Its name and address may be missing."""
    found = read(form(Latitude=" 4.5 ", Longitude="-74.25", Label="Home", Address="", Body=""))
    assert found.location == Location(latitude=4.5, longitude=-74.25, label="Home", address=None)


def test_the_content_of_an_answer() -> None:
    """The button that was chosen, and the message that it answers."""
    found = read(form(Body="Yes", ButtonText="Yes", ButtonPayload="yes", OriginalRepliedMessageSid="SM1"))
    assert (found.text, found.button, found.in_reply_to) == ("Yes", "yes", "SM1")
