"""Read an `application/x-www-form-urlencoded` body strictly: what a form library repairs is refused here."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from app.web.webhooks.fields import Fields, Refused

MOST_FIELDS = 200
_CONTENT_TYPE = re.compile(r"application/x-www-form-urlencoded(\s*;\s*charset=\"?utf-8\"?)?\s*", re.IGNORECASE)
_ENCODED = re.compile(rb"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")


def read_form(content_type: str | None, body: bytes) -> Fields:
    """Return the fields of a form. Raises `Refused` for another type of content, or a body that is not such a form.

    Blank values are kept. Escapes, names and values must be valid UTF-8, and each pair has an equals sign.
    """
    if content_type is None or not _CONTENT_TYPE.fullmatch(content_type):
        raise Refused("content-type: must be application/x-www-form-urlencoded in UTF-8")
    if not body or not _ENCODED.fullmatch(body):
        raise Refused("body: is not form-encoded")
    pairs = body.decode("ascii").split("&")
    if len(pairs) > MOST_FIELDS:
        raise Refused(f"body: has more than {MOST_FIELDS} fields")
    fields: dict[str, tuple[str, ...]] = {}
    for name, equals, value in (pair.partition("=") for pair in pairs):
        if not equals:
            raise Refused("body: a field has no equals sign")
        decoded = _decode(name)
        fields[decoded] = (*fields.get(decoded, ()), _decode(value))
    return fields


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise Refused("body: is not UTF-8") from None
