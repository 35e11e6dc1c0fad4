"""Read an `application/x-www-form-urlencoded` body strictly: what a form library repairs is refused here."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

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
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:  # a pair without an equals sign, too many fields, bytes that are no UTF-8
        raise Refused(f"body: is not a form of at most {MOST_FIELDS} fields in UTF-8") from None
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return fields
