"""Numbers: one E.164 number for all spellings of a mobile, and no landline becomes a mobile."""

from __future__ import annotations

import pytest

from app.messaging.numbers import e164, written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Mexico: WhatsApp keeps the 1 after +52.
        ("+5215512345678", "+525512345678"),
        ("+52 1 55 1234 5678", "+525512345678"),
        ("+525512345678", "+525512345678"),
        ("+528112345678", "+528112345678"),
        ("+5218001234567", "+5218001234567"),  # 800 numbers have no 1, and are no mobiles
        # Argentina: a mobile has a 9 after +54, or 15 after the area code. Without both it may be a landline.
        ("+5491123456789", "+5491123456789"),
        ("+54 11 15 2345 6789", "+5491123456789"),
        ("+541143211234", "+541143211234"),
        ("+541123456789", "+541123456789"),
        # Brazil: with or without the ninth digit.
        ("+5511987654321", "+5511987654321"),
        ("+551187654321", "+5511987654321"),
        ("+558585123456", "+5585985123456"),
        ("+551132345678", "+551132345678"),
        ("+551177654321", "+551177654321"),  # a trunked radio number, which has eight digits
        # Colombia, the default country.
        ("3011234567", "+573011234567"),
        ("301 123 4567", "+573011234567"),
        ("57 301 1234567", "+573011234567"),
        ("+57 (301) 123-4567", "+573011234567"),
        ("0057 301 1234567", "+573011234567"),
        ("00573011234567", "+573011234567"),
        ("6011234567", "+576011234567"),
        # Other countries.
        ("0034 612 345 678", "+34612345678"),
        ("+4407911123456", "+447911123456"),
        ("+393471234567", "+393471234567"),
        ("+390612345678", "+390612345678"),
        ("+18005551234", "+18005551234"),
        # No plan has these: they stay as they are written.
        ("+56912345678", "+56912345678"),
        ("+999123456789", "+999123456789"),
        ("+52 155 1234", "+521551234"),
        # No numbers.
        ("73529", None),
        ("+123", None),
        ("+800123456789012345", None),
        ("+1 800 FLOWERS", None),
        ("TWILIO", None),
        ("CO.1502576394655843", None),
        ("+CO1502576394655843", None),
        ("", None),
        ("+", None),
    ],
)
def test_the_number_of_a_text(text: str, expected: str | None) -> None:
    """Each spelling gives the number, and the number gives itself."""
    assert e164(text) == expected
    assert expected is None or e164(expected) == expected


def test_a_number_without_country_code_is_of_the_region() -> None:
    """By default Colombia's."""
    assert e164("011 15-2345-6789", "AR") == "+5491123456789"
    assert e164("(11) 8765-4321", "BR") == "+5511987654321"


@pytest.mark.parametrize(
    ("text", "expected"), [("+52 1 55-1234.5678", "+5215512345678"), ("5215512345678", None), ("+1", None)]
)
def test_a_number_as_it_is_written(text: str, expected: str | None) -> None:
    """Without spaces and punctuation; only with a country code."""
    assert written(text) == expected
