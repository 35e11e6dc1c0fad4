"""Validation of CloudEvents 1.0 attributes that the program does not read: the content type, and extensions.

An extension attribute has a name of at most 20 lower-case letters and digits. Its value is a string, an integer of 32
bits or a boolean. The program stores it with the event and does not read it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator

_NAME = re.compile(r"[a-z0-9]{1,20}")
_JSON = re.compile(r"application/json(\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTEGERS = range(-(2**31), 2**31)

PROPERTY_NAMES = {"pattern": "^[a-z0-9]{1,20}$"}
"""JSON Schema of the names of attributes."""
EXTENSION = {
    "type": ["string", "integer", "boolean", "null"],
    "minimum": _INTEGERS.start,
    "maximum": _INTEGERS.stop - 1,
}
"""JSON Schema of the value of an extension attribute. Null is the same as absent."""


def _name(name: str) -> str:
    if name == "data_base64":
        message = "binary data is not accepted; send data as a JSON object"
        raise ValueError(message)
    if not _NAME.fullmatch(name):
        message = "unknown attribute, and an extension attribute has 1 to 20 characters of a-z and 0-9 as its name"
        raise ValueError(message)
    return name


def _value(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case int() if value in _INTEGERS:
            return value
        case str() if not _CONTROL.search(value):
            return value
    message = "an extension attribute is a string without control characters, an integer of 32 bits, or a boolean"
    raise ValueError(message)


def _content_type(value: str) -> str:
    if not _JSON.fullmatch(value):
        message = "must be application/json, data of other types is not read"
        raise ValueError(message)
    return value


ExtensionName = Annotated[str, AfterValidator(_name)]
ExtensionValue = Annotated[Any, AfterValidator(_value)]
JsonContentType = Annotated[str, AfterValidator(_content_type)]
