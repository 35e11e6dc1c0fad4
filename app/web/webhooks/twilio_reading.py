"""Whether a signed form is the form that Twilio signed.

Twilio signs the names and values of a form one after the other, without anything between them. Somebody who has seen a
signed request can therefore move text between a name and its value, or between two fields, and the signature stays
valid: `Body=hiFrom` and `=…`, `To=+57…ToCity` and so on. `objection()` accepts a form only if it is the one way to read
its text:

- every required field is there, no field is there twice with one value, and no field that we use is there twice;
- each value is one that its field can have;
- no known field can be split off a value, and no text can move between neighbours. Where text could be read with more
  or with fewer fields, the reading with more fields counts;
- a field that this program does not know could not have been part of the value before it.

The last two refuse a genuine message whose text ends like a field of Twilio's (`hiForwardedtrue`), or a new field of
Twilio's that follows a text. Such a request is not accepted, and its sender is not able to make it so by accident.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from app.web.webhooks.form import Fields
from app.web.webhooks.twilio_names import REQUIRED, field, is_name, names_in

_SAME_SID = ("SmsMessageSid", "SmsSid")
_BORDER = re.compile(r"AccountSidAC[0-9a-f]{32}|MessageSid[SM]M[0-9a-f]{32}|From(?:[a-z]+:|\+?[0-9])")
"""Required fields as they look within signed text. A text that holds one could hide the true field."""


def objection(fields: Fields) -> str | None:
    """Return why `fields` may not be what Twilio signed, for the log; None if there is one way to read them."""
    return next(chain(_impossible(fields), _ambiguous(fields)), None)


def known_fields(fields: Fields) -> Fields:
    """Return the fields that this program knows. Of the others nobody can say where the name ends."""
    return {name: values for name, values in fields.items() if field(name) is not None}


def _impossible(fields: Fields) -> Iterator[str]:
    for name, values in fields.items():
        if problem := _problem(name, values):
            yield f"{name}: {problem}"
    for name in REQUIRED:
        if name not in fields:
            yield f"{name}: is missing"
    for name in _SAME_SID:
        if fields.get(name, fields["MessageSid"]) != fields["MessageSid"]:
            yield f"{name}: is not the MessageSid"


def _ambiguous(fields: Fields) -> Iterator[str]:
    pairs = sorted((name, value) for name, values in fields.items() for value in values)
    if pairs[0][0] != "AccountSid":  # the text before the first field is the URL's
        yield f"{pairs[0][0]}: comes before AccountSid, and no field of Twilio's does"
    for name, value in pairs:
        if field(name) is None and (other := _known_name(name + value, absent_from=fields)):
            yield f"{name}: its text could be read as the field {other}"
    for before, after in pairwise([*pairs, ("~", "")]):
        if other := _other_reading(before, after):
            yield f"{before[0]}: its text could be read as the field {other}"


def _problem(name: str, values: Sequence[str]) -> str | None:
    if not is_name(name):
        return "is not the name of a field"
    known = field(name)
    if len(values) > 1 and (known is not None or len(set(values)) < len(values)):
        return "is there more than once"
    if known is None:
        return None
    if not known.allows(values[0]):
        return "has a value that it cannot have"
    if known.is_text and _BORDER.search(values[0]):
        return "holds what looks like another field"
    return None


def _known_name(text: str, *, absent_from: Fields) -> str | None:
    """Return a known name at the beginning of the text of an unknown field."""
    found = (name for start, name in names_in(text) if start == 0 and name not in absent_from)
    return next((name for name in found if _allows(name, text.removeprefix(name))), None)


def _other_reading(before: tuple[str, str], after: tuple[str, str]) -> str | None:
    """Return the name of a field that `before` could hold, or of `after` if their border could be elsewhere."""
    name, value = before
    next_name, next_value = after
    for start, found in names_in(value):
        head, tail = value[:start], value[start + len(found) :]
        if name < found < next_name and _allows(name, head) and _allows(found, tail):
            return found
        if found == next_name and _allows(name, head) and _allows(found, tail + found + next_value):
            return found
    for start, found in names_in(next_value):
        head, tail = next_value[:start], next_value[start + len(found) :]
        if found == next_name and _allows(name, value + found + head) and _allows(found, tail):
            return found
    if field(next_name) is None and is_name(next_name) and _allows(name, value + next_name + next_value):
        return next_name
    return None


def _allows(name: str, value: str) -> bool:
    known = field(name)
    return known is None or bool(known.allows(value))
