"""Read what a message contains, from the form fields that were posted for it. Pure.

A location comes before media, media before a link, a link before text. Media are images (stickers too), audio (voice
notes too), video and contacts (vCards); the first of these decides. Any other file, a PDF say, is `unknown`, and so is
a message without content. A caption is the text of the media.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite

from pydantic import BaseModel, ConfigDict

from app.messaging.twilio_form import Fields, value
from events.messaging import ContentType

_LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"]+[^\s<>\".,;:!?)\]}'»]", re.IGNORECASE)
_KINDS: dict[str, ContentType] = {"image": "image", "audio": "audio", "video": "video"}
_OTHER_KINDS: dict[str, ContentType] = {
    "text/vcard": "contact",
    "text/x-vcard": "contact",
    "text/directory": "contact",
    "application/vcard": "contact",
    "application/ogg": "audio",
    "application/mp4": "video",
}
_REPLIES = ("Body", "ButtonText", "ListTitle")
"""Fields with the text of a message: what was typed, or the button or row of a list that was chosen."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Media(_Value):
    """A file of a message. `url`: at Twilio, readable with the account's credentials. `content_type`: as declared."""

    url: str
    content_type: str

    @property
    def kind(self) -> ContentType:
        """The type of content that the declared media type stands for."""
        declared = self.content_type.partition(";")[0].strip().lower()
        return _OTHER_KINDS.get(declared) or _KINDS.get(declared.partition("/")[0], "unknown")


class Location(_Value):
    """A place. `latitude`, `longitude`: degrees."""

    latitude: float
    longitude: float
    label: str | None = None
    address: str | None = None


class Content(_Value):
    """The normalised content of a message. `text`: the body or the caption. `links`: the URLs in it."""

    type: ContentType
    text: str | None = None
    links: tuple[str, ...] = ()
    media: tuple[Media, ...] = ()
    location: Location | None = None
    button: str | None = None
    in_reply_to: str | None = None


def read(fields: Fields) -> Content:
    """Return the normalised content of a message."""
    text = value(fields, *_REPLIES)
    media, location = tuple(_media(fields)), _location(fields)
    links = tuple(found[0] for found in _LINK.finditer(text)) if text else ()
    return Content(
        type=_type(text, links, media, location),
        text=text,
        links=links,
        media=media,
        location=location,
        button=value(fields, "ButtonPayload", "ListId"),
        in_reply_to=value(fields, "OriginalRepliedMessageSid"),
    )


def _type(text: str | None, links: tuple[str, ...], media: tuple[Media, ...], location: Location | None) -> ContentType:
    if location:
        return "location"
    if media:
        return next((one.kind for one in media if one.kind != "unknown"), "unknown")
    if text is None:
        return "unknown"
    return "link" if links and not _LINK.sub("", text).strip() else "text"


def _media(fields: Fields) -> Iterator[Media]:
    """Yield the files in the order of their numbers. `NumMedia` may be blank or wrong: the URLs count."""
    number = 0
    while url := value(fields, f"MediaUrl{number}"):
        yield Media(url=url, content_type=value(fields, f"MediaContentType{number}") or "")
        number += 1


def _location(fields: Fields) -> Location | None:
    """Return the place, if both of its coordinates are degrees."""
    latitude, longitude = _degrees(fields, "Latitude", 90), _degrees(fields, "Longitude", 180)
    if latitude is None or longitude is None:
        return None
    return Location(
        latitude=latitude, longitude=longitude, label=value(fields, "Label"), address=value(fields, "Address")
    )


def _degrees(fields: Fields, name: str, most: float) -> float | None:
    try:
        found = float(value(fields, name) or "nan")
    except ValueError:
        return None
    return found if isfinite(found) and abs(found) <= most else None
