"""Whether a signed form is the form that Twilio signed.

Twilio signs the names and values of a form one after the other, without anything between them. Somebody who has seen a
signed request can therefore move text between a name and its value, or between two fields, and the signature stays
valid. A form is accepted only if there is one way to read its text. `impossible()`: Twilio sends no such form.

- The required fields are there, each field has values that it can have, and it is there once unless Twilio repeats it.
- No text of a person holds what looks like a required field.

`ambiguous()`: the same text is another form, which Twilio could have sent.

- A known field could be split off a value, or text could move between neighbours. If the text can be read with more or
  with fewer fields, the form with more fields counts.
- A field that this program does not know could be the end of the value before it, or its name begins like a known one.

A message is ambiguous if its text ends like a field (`hiForwardedtrue`), or if Twilio adds a field that follows a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from app.web.webhooks.fields import Fields
from app.web.webhooks.twilio_names import REQUIRED, field, is_name, names_in

_SAME_SID = ("SmsMessageSid", "SmsSid")
_BORDER = re.compile(r"AccountSidAC[0-9a-f]{32}|MessageSid[SMI]M[0-9a-f]{32}|(?:Author|From)(?:[a-z]+:|\+?[0-9])")
"""Required fields as they look within signed text. A text that holds one could hide the true field."""


def known_fields(fields: Fields) -> Fields:
    """Return the fields that this program knows. Of the others nobody can say where the name ends."""
    return {name: values for name, values in fields.items() if field(name) is not None}


def impossible(fields: Fields) -> str | None:
    """Return why Twilio cannot have sent `fields`, for the log; None if it can."""
    return next(_impossible(fields), None)


def ambiguous(fields: Fields) -> str | None:
    """Return how the text of `fields`, which are not impossible, could also be read; None if it cannot."""
    return next(_ambiguous(fields), None)


def _impossible(fields: Fields) -> Iterator[str]:
    for name, values in fields.items():
        if problem := _problem(name, values):
            yield f"{name}: {problem}"
    missing = [[name for name in names if name not in fields] for names in REQUIRED]
    if all(missing):
        yield f"{min(missing, key=len)[0]}: is missing"
    for name in _SAME_SID:
        if fields.get(name, fields["MessageSid"]) != fields["MessageSid"]:
            yield f"{name}: is not the MessageSid"


def _ambiguous(fields: Fields) -> Iterator[str]:
    pairs = sorted((name, value) for name, values in fields.items() for value in values)
    if pairs[0][0] != "AccountSid":  # the text before the first field is the URL's
        yield f"{pairs[0][0]}: comes before AccountSid, and no field of Twilio's does"
    for name, value in pairs:
        if field(name) is None and (other := _known_name(name + value, fields)):
            yield f"{name}: its text could be read as the field {other}"
    for before, after in pairwise([*pairs, ("~", "")]):
        if other := _other_reading(before, after):
            yield f"{before[0]}: its text could be read as the field {other}"


def _problem(name: str, values: Sequence[str]) -> str | None:
    known = field(name)
    if known is None and not is_name(name):
        return "is not the name of a field"
    if len(values) > 1 and not ((known is None or known.repeats) and len(set(values)) == len(values)):
        return "is there more than once"
    if known is None:
        return None
    if not all(known.allows(value) for value in values):
        return "has a value that it cannot have"
    if known.is_text and _BORDER.search(values[0]):
        return "holds what looks like another field"
    return None


def _known_name(text: str, fields: Fields) -> str | None:
    """Return a known name at the beginning of the text of an unknown field, if `fields` can have one more of it."""
    for start, name in names_in(text):
        known = field(name)
        if start == 0 and known and (known.repeats or name not in fields) and known.allows(text.removeprefix(name)):
            return name
    return None


def _other_reading(before: tuple[str, str], after: tuple[str, str]) -> str | None:
    """Return the name of a field that `before` could hold, or of `after` if their border could be elsewhere."""
    name, value = before
    next_name, next_value = after
    for start, other in names_in(value):
        head, tail = value[:start], value[start + len(other) :]
        if name < other < next_name and _allows(name, head) and _allows(other, tail):
            return other
        if other == next_name and _allows(name, head) and _allows(other, tail + other + next_value):
            return other
    for found in re.finditer(re.escape(next_name), next_value) if next_name in next_value else ():
        head, tail = next_value[: found.start()], next_value[found.end() :]
        if _allows(name, value + next_name + head) and _allows(next_name, tail):
            return next_name
    if field(next_name) is None and is_name(next_name) and _allows(name, value + next_name + next_value):
        return next_name
    return None


def _allows(name: str, value: str) -> bool:
    known = field(name)
    return known is None or bool(known.allows(value))
