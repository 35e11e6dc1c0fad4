"""How marketplaces write prices, product ids and seller names: many spellings of one value."""

from __future__ import annotations

import random
from dataclasses import dataclass

_NO_BREAK, _NARROW = "\u00a0", "\u202f"


@dataclass(frozen=True, slots=True)
class Market:
    """A marketplace's currency (`digits` after the decimal sign), and its spellings of an amount `{}`."""

    currency: str
    digits: int
    decimal: str
    groups: tuple[str, ...]
    spellings: tuple[str, ...]
    is_indian: bool = False


_DOLLAR = Market("USD", 2, ".", (",",), ("${}", "US$ {}", "$ {}", "USD {}", "{} USD"))
MARKETS = {
    "amazon.com": _DOLLAR,
    "ebay.com": _DOLLAR,
    "amazon.de": Market("EUR", 2, ",", (".", "", _NO_BREAK), ("{} €", "{}" + _NO_BREAK + "€", "EUR {}", "€ {}")),
    "amazon.fr": Market("EUR", 2, ",", (_NARROW, _NO_BREAK, " "), ("{} €", "{}" + _NO_BREAK + "€", "EUR {}")),
    "amazon.co.uk": Market("GBP", 2, ".", (",",), ("£{}", "GBP {}", "£ {}")),
    "amazon.co.jp": Market("JPY", 0, ".", (",",), ("¥{}", "￥{}", "{}円", "JPY {}")),
    "amazon.cn": Market("CNY", 2, ".", (",", ""), ("¥{}", "￥{}", "CNY {}")),
    "amazon.in": Market("INR", 2, ".", (",",), ("₹{}", "Rs. {}", "₹" + _NO_BREAK + "{}", "INR {}"), is_indian=True),
    "amazon.com.mx": Market("MXN", 2, ".", (",",), ("${}", "$ {}", "MXN {}", "MX$ {}")),
    "amazon.com.br": Market("BRL", 2, ",", (".",), ("R$ {}", "R${}", "R$" + _NO_BREAK + "{}")),
    "amazon.com.co": Market("COP", 2, ",", (".",), ("$ {}", "${}", "COP {}", "$" + _NO_BREAK + "{}")),
    "galaxus.ch": Market("CHF", 2, ".", ("'", "\u2019"), ("{} CHF", "CHF {}", "Fr. {}")),
}


def amount(market: Market, minor: int, group: str) -> str:
    """Return an amount of minor units in figures. Whole pesos of Colombia are written without a fraction."""
    whole, part = divmod(minor, 10**market.digits)
    fraction = f"{market.decimal}{part:0{market.digits}}" if market.digits else ""
    if market.currency == "COP" and not part:
        fraction = ""
    return _grouped(str(whole), group, is_indian=market.is_indian) + fraction


def _grouped(figures: str, group: str, *, is_indian: bool) -> str:
    head, last = figures[:-3], figures[-3:]
    step = 2 if is_indian else 3
    parts = [head[max(0, end - step) : end] for end in range(len(head), 0, -step)][::-1]
    return group.join([*parts, last])


def price(dice: random.Random, marketplace: str, lowest: int, highest: int) -> str:
    """Return a text of a price in minor units, or of a range if `highest` is another amount."""
    market = MARKETS[marketplace]
    group = dice.choice(market.groups)
    texts = [amount(market, minor, group) for minor in dict.fromkeys((lowest, highest))]
    return dice.choice(market.spellings).format(dice.choice((" - ", " \u2013 ")).join(texts))


def asin(dice: random.Random, exact: str) -> str:
    """Return an ASIN as callers find it: also in small letters, and with space around it."""
    return dice.choice((exact, exact, exact.lower(), f" {exact}", f"{exact}\t", f"{_NO_BREAK}{exact.lower()} "))


def isbn(dice: random.Random, exact: str) -> str:
    """Return a ten-digit ISBN as callers find it: also without its leading zeros, as spreadsheets save it."""
    return dice.choice((exact, exact.lstrip("0"), f" {exact.lstrip('0').lower()} ", exact.lower()))


def isbn_of(number: int) -> str:
    """Return the ISBN-10 of nine digits, with its check digit."""
    digits = f"{number:09}"
    check = -sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
    return digits + ("X" if check == 10 else str(check))  # noqa: PLR2004 - ISBN writes 10 as X


_COMPANIES = ("Müller Elektronik", "Café São João", "Peña y Hijos", "Ångström Audio", "Bright Deals", "Łódź Księgarnia")
_FORMS = ("", " GmbH", " S.A.S.", " LLC", ", Inc.", " Ltda.", " Ltd", " G.m.b.H.")


def company(number: int) -> str:
    """Return the plain name of a seller."""
    name = _COMPANIES[number % len(_COMPANIES)]
    return name if number < len(_COMPANIES) else f"{name} {number // len(_COMPANIES) + 1}"


def company_name(dice: random.Random, exact: str) -> str:
    """Return a company's name as callers find it: other case, other spaces, with or without its legal form."""
    cased = dice.choice((exact, exact.upper(), exact.lower(), exact.replace(" ", "  "), f" {exact}"))
    return cased + dice.choice(_FORMS)


def user_name(dice: random.Random, exact: str) -> str:
    """Return a user name in any case."""
    return dice.choice((exact, exact.upper(), exact.title(), f" {exact} "))
