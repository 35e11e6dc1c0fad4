"""Phone numbers: one E.164 number for all spellings of a mobile. Pure; `phonenumbers` knows the numbering plans.

A valid number stays as it is. So a landline never becomes a mobile: in Argentina and Brazil the two differ by a digit,
and a number without that digit that can be a landline is taken for one. Only a number that no plan has is changed, and
only if the change makes it a valid mobile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

REGION = "CO"
"""The region of numbers that are written without a country code."""

_SHAPE = re.compile(r"\+[1-9][0-9]{6,14}")
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
"""In Mexico, as in North America, the plan does not tell mobiles and landlines apart."""


@lru_cache(maxsize=10_000)  # a message carries the same number twice, and people write again
def e164(text: str, region: str = REGION) -> str | None:
    """Return the E.164 number of a text, for example `+525512345678` for `+52 1 55 1234 5678`.

    `region`: ISO 3166 code of the country of a number without a country code. Returns None for a text that is not a
    number, such as a short code or a name. A number with a country code that no numbering plan has stays as it is
    written.
    """
    # With region CO the library reads 0057 301... as a Russian number: 00 is no international prefix there.
    text = re.sub(r"^\s*00(?=\s*[1-9])", "+", text)
    if any(one.isalpha() for one in text):
        return None  # the library reads letters as the keys of a telephone
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return written(text)
    known = next((one for one in _spellings(number) if phonenumbers.is_valid_number(one)), None)
    return phonenumbers.format_number(known, PhoneNumberFormat.E164) if known else written(text)


def written(text: str) -> str | None:
    """Return a number with a country code as it is written: `+` and 7 to 15 digits. None for any other text."""
    found = re.sub(r"[\s().-]", "", text)
    return found if _SHAPE.fullmatch(found) else None


def _spellings(number: PhoneNumber) -> Iterator[PhoneNumber]:
    """Yield the number as it is written, then the other spelling of a mobile that its country knows."""
    yield number
    national = phonenumbers.national_significant_number(number)
    match number.country_code:
        case 52 if national.startswith("1"):  # Mexico has dropped the 1, WhatsApp keeps it
            yield from _mobile(number, national[1:])
        case 54:  # Argentina
            yield from _mobile(number, f"9{national}")
        case 55:  # Brazil: the ninth digit follows the area code of two digits; WhatsApp omits it for many areas
            yield from _mobile(number, f"{national[:2]}9{national[2:]}")
        case _:
            return


def _mobile(number: PhoneNumber, national: str) -> Iterator[PhoneNumber]:
    """Yield the number of the same country with other national digits, if it is a mobile."""
    found = PhoneNumber(country_code=number.country_code, national_number=int(national or "0"))
    if phonenumbers.number_type(found) in _MOBILE:
        yield found
