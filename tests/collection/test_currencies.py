"""Currencies, and the marketplaces' way to write amounts."""

from __future__ import annotations

import pytest

from app.collection.currencies import DIGITS, Place, meant_by, place_of


@pytest.mark.parametrize(("code", "digits"), [("JPY", 0), ("CLP", 0), ("EUR", 2), ("COP", 2), ("KWD", 3)])
def test_a_currency_has_the_digits_of_its_minor_unit(code: str, digits: int) -> None:
    """As ISO 4217 lists them."""
    assert DIGITS[code] == digits


@pytest.mark.parametrize(
    ("marketplace", "place"),
    [
        ("amazon.de", Place("EUR", ",")),
        ("ebay.de", Place("EUR", ",")),
        (" WWW.Amazon.com.mx ", Place("MXN", ".")),
        ("amazon.com", Place("USD", ".")),
        ("amazon.co.jp", Place("JPY", ".")),
        ("amazon.xx", None),
        ("amazon", None),
    ],
)
def test_the_end_of_a_marketplaces_name_decides_its_place(marketplace: str, place: Place | None) -> None:
    """In any case, with or without `www.`. Unknown ends have none."""
    assert place_of(marketplace) == place


@pytest.mark.parametrize(
    ("mark", "currencies"),
    [
        ("eur", {"EUR"}),
        ("€", {"EUR"}),
        ("Rs.", {"INR", "LKR", "NPR", "PKR"}),
        ("US$", {"USD"}),
        ("USD$", {"USD"}),
        ("EUR$", set()),
        ("¥", {"JPY", "CNY"}),
        ("XYZ", set()),
        ("", set()),
    ],
)
def test_a_mark_may_mean_several_currencies(mark: str, currencies: set[str]) -> None:
    """A code means itself, also with a sign of that currency. A code with another currency's sign means none."""
    assert meant_by(mark) == currencies


def test_every_place_has_a_known_currency() -> None:
    """The dollar sign includes each dollar of a place."""
    for end in ("com", "ca", "com.au", "com.mx", "com.sg", "com.ar", "com.co", "cl"):
        place = place_of(f"amazon.{end}")
        assert place is not None
        assert place.currency in DIGITS
        assert place.currency in meant_by("$")
