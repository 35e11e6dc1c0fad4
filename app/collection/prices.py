"""Read prices as marketplaces write them: text to minor units of a currency, or the reason why not.

The marketplace decides what the text leaves open: `$` is the dollar or peso of its country, `¥` yen or yuan, and
`1.199` is a thousand in Germany and nothing in the United States, where a dollar has no tenth of a cent. A text that
has two readings, or anything beside amounts and currencies, is refused: a price that is wrong by a factor of 100 costs
more than one that is missing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from app.collection.currencies import DIGITS, Place, meant_by, place_of

LARGEST = 10**15
"""Amounts in minor units are below this."""
_LONGEST = 100
_SHOWN = 40
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212~\u301c\u223c"
_TOKEN = re.compile(
    r"(?P<figure>[0-9]+(?:[.,'\u2019][0-9]+|[ ][0-9]{3}(?![0-9]))*)"
    rf"|(?P<dash>[{_DASHES}])|(?P<mark>[^\s0-9{_DASHES}]+)"
)
_NO_CENTS = re.compile(rf"(?<=[0-9])[.,][{_DASHES}]{{1,2}}")  # `29,-` has no cents
_TO = frozenset({"to", "bis", "a", "à", "al"})
_WITHOUT_SIGNS = str.maketrans("", "", ".,' ")
_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?:([.,' ])[0-9]{3})(?:\1[0-9]{3})*")
_INDIAN_GROUPS = re.compile(r"[1-9][0-9]?(?:,[0-9]{2})*,[0-9]{3}")


@dataclass(frozen=True, slots=True)
class Price:
    """A price in minor units of a currency. Of a range the lowest and the highest; else both are the same."""

    currency: str
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A text that cannot be read, with the reason."""

    reason: str


class _NoPriceError(Exception):
    """Carries the reason out of the steps of a reading."""


def price(text: object, marketplace: str) -> Price | Refused:
    """Return the price that a text of a marketplace such as `amazon.de` means, or the reason why it means none."""
    try:
        return _price(_plain(text), place_of(marketplace), marketplace)
    except _NoPriceError as error:
        return Refused(str(error))


def _price(text: str, place: Place | None, marketplace: str) -> Price:
    figures, marks = _parts(text)
    currency = _currency(marks, place, marketplace)
    amounts = [_minor(figure, currency, place) for figure in figures]
    lowest, highest = amounts[0], amounts[-1]
    if lowest > highest:
        raise _NoPriceError("the first amount of the range is above the second")
    return Price(currency, lowest, highest)


def _plain(text: object) -> str:
    if not isinstance(text, str):
        raise _NoPriceError(f"a price is a text, not {type(text).__name__}")
    if len(text) > _LONGEST:
        raise _NoPriceError(f"longer than {_LONGEST} characters")
    if not text.isascii() and any(unicodedata.category(letter) == "No" for letter in text):  # 29⁹⁹ would become 2999
        raise _NoPriceError("small or circled figures have no certain place")
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    if not plain:
        raise _NoPriceError("empty")
    return _NO_CENTS.sub("", plain)


def _parts(text: str) -> tuple[list[str], list[str]]:
    """Return the one or two figures of a text, and its currency marks."""
    kinds, figures, marks = [], [], []
    for kind, part in _tokens(text):
        kinds.append(kind)
        if kind == "figure":
            figures.append(part)
        elif kind == "mark":
            marks.append(part)
    if not figures:
        raise _NoPriceError(f"no amount: {_shown(text)}")
    order = [kind for kind in kinds if kind != "mark"]
    if order[0] == "dash":
        raise _NoPriceError("a negative amount")
    if order not in (["figure"], ["figure", "dash", "figure"]):
        raise _NoPriceError(f"more than one price: {_shown(text)}")
    return figures, marks


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield figures, dashes and marks. Marks without a figure between them are one: `US $` is `US$`."""
    mark = ""
    for match in _TOKEN.finditer(text):
        kind, part = match.lastgroup or "", match[0]
        if kind == "mark" and part.casefold() not in _TO:
            mark += part
            continue
        if mark:
            yield "mark", mark
            mark = ""
        yield ("dash" if kind == "mark" else kind), part
    if mark:
        yield "mark", mark


def _currency(marks: list[str], place: Place | None, marketplace: str) -> str:
    meant = frozenset(DIGITS)
    for mark in marks:
        if not (these := meant_by(mark)):
            raise _NoPriceError(f"{_shown(mark)} is no currency")
        meant &= these
    if not meant:
        raise _NoPriceError(f"two currencies: {' and '.join(_shown(mark) for mark in marks)}")
    if len(meant) == 1:
        return next(iter(meant))
    if place is not None and place.currency in meant:
        return place.currency
    said = _shown(marks[0]) if marks else "an amount without a currency"
    raise _NoPriceError(f"{said} is ambiguous at {marketplace}")


def _minor(figure: str, currency: str, place: Place | None) -> int:
    """Return a figure's amount in minor units. Exactly one reading must be left."""
    digits = DIGITS[currency]
    figure = figure.replace("\u2019", "'")
    readings = {
        amount
        for decimal in (".", ",", "")
        if (amount := _reading(figure, decimal, currency, digits)) is not None
        and not _is_doubtful(figure, decimal, place, digits)
    }
    if len(readings) != 1:
        raise _NoPriceError(f"{_shown(figure)} has {'no' if not readings else 'more than one'} reading in {currency}")
    amount = readings.pop()
    if amount >= LARGEST:
        raise _NoPriceError("the amount is too large")
    return amount


def _reading(figure: str, decimal: str, currency: str, digits: int) -> int | None:
    """Return the amount with this decimal sign (empty: without a fraction); None if the figure does not allow it."""
    whole, sign, fraction = figure.rpartition(decimal) if decimal else (figure, "", "")
    if decimal and (not sign or not 0 < len(fraction) <= max(digits, 2)):
        return None
    if not (whole.isdigit() or _is_grouped(whole, decimal, currency)):
        return None
    if fraction[digits:].strip("0"):  # half a yen
        return None
    kept = fraction[:digits].ljust(digits, "0")
    return int(whole.translate(_WITHOUT_SIGNS) + kept)


def _is_grouped(whole: str, decimal: str, currency: str) -> bool:
    is_grouped = _GROUPS.fullmatch(whole) or (currency == "INR" and _INDIAN_GROUPS.fullmatch(whole))
    return bool(is_grouped) and not (decimal and decimal in whole)


def _is_doubtful(figure: str, decimal: str, place: Place | None, digits: int) -> bool:
    """Return whether a lone sign before three digits may be the other kind of sign at this marketplace."""
    match = re.fullmatch(r"[0-9]{1,3}([.,])[0-9]{3}", figure)
    if match is None or digits == 0:
        return False
    if place is None:
        return True
    return (match[1] == place.decimal) != bool(decimal)


def _shown(text: str) -> str:
    printable = "".join(letter for letter in text if letter.isprintable())
    return repr(printable if len(printable) <= _SHOWN else f"{printable[:_SHOWN]}…")
