"""Currencies and the marketplaces' way to write amounts.

Source of the minor units: ISO 4217, list one, as published by SIX in 2025. Source of the decimal signs: the prices that
each marketplace shows in its own language.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

_CODES = {
    0: "CLP ISK JPY KRW PYG VND",
    2: (
        "AED ARS AUD BRL CAD CHF CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR LKR MAD MXN MYR NGN NOK NPR NZD PEN "
        "PHP PKR PLN RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD UYU ZAR"
    ),
    3: "BHD JOD KWD OMR TND",
}
DIGITS = {code: digits for digits, codes in _CODES.items() for code in codes.split()}
"""Digits of the minor unit of each known currency."""

_DOLLARS = frozenset({"ARS", "AUD", "CAD", "CLP", "COP", "HKD", "MXN", "NZD", "SGD", "TWD", "USD", "UYU"})
_SIGNS = {
    "$": _DOLLARS,
    "¥": frozenset({"JPY", "CNY"}),
    "RS": frozenset({"INR", "LKR", "NPR", "PKR"}),
    "KR": frozenset({"SEK", "NOK", "DKK", "ISK"}),
    "€": {"EUR"},
    "£": {"GBP"},
    "₹": {"INR"},
    "円": {"JPY"},
    "元": {"CNY"},
    "JP¥": {"JPY"},
    "CN¥": {"CNY"},
    "US$": {"USD"},
    "AU$": {"AUD"},
    "A$": {"AUD"},
    "CA$": {"CAD"},
    "C$": {"CAD"},
    "HK$": {"HKD"},
    "MX$": {"MXN"},
    "COL$": {"COP"},
    "NT$": {"TWD"},
    "NZ$": {"NZD"},
    "S$": {"SGD"},
    "R$": {"BRL"},
    "S/": {"PEN"},
    "FR": {"CHF"},
    "SFR": {"CHF"},
    "ZŁ": {"PLN"},
    "KČ": {"CZK"},
    "FT": {"HUF"},
    "TL": {"TRY"},
    "₺": {"TRY"},
    "₩": {"KRW"},
    "₽": {"RUB"},
    "₪": {"ILS"},
    "฿": {"THB"},
    "₱": {"PHP"},
    "₫": {"VND"},
    "R": {"ZAR"},
}


@dataclass(frozen=True, slots=True)
class Place:
    """The currency of a marketplace, and its decimal sign."""

    currency: str
    decimal: str


# By the end of the marketplace's name: amazon.de and ebay.de write prices alike.
_PLACES = {
    "ae": Place("AED", "."),
    "at": Place("EUR", ","),
    "be": Place("EUR", ","),
    "ca": Place("CAD", "."),
    "ch": Place("CHF", "."),
    "cn": Place("CNY", "."),
    "co.jp": Place("JPY", "."),
    "co.uk": Place("GBP", "."),
    "co.za": Place("ZAR", ","),
    "com": Place("USD", "."),
    "com.ar": Place("ARS", ","),
    "com.au": Place("AUD", "."),
    "com.be": Place("EUR", ","),
    "com.br": Place("BRL", ","),
    "com.co": Place("COP", ","),
    "com.hk": Place("HKD", "."),
    "com.mx": Place("MXN", "."),
    "com.my": Place("MYR", "."),
    "com.pe": Place("PEN", "."),
    "com.sg": Place("SGD", "."),
    "com.tr": Place("TRY", ","),
    "cl": Place("CLP", ","),
    "de": Place("EUR", ","),
    "eg": Place("EGP", "."),
    "es": Place("EUR", ","),
    "fr": Place("EUR", ","),
    "ie": Place("EUR", "."),
    "in": Place("INR", "."),
    "it": Place("EUR", ","),
    "nl": Place("EUR", ","),
    "pl": Place("PLN", ","),
    "sa": Place("SAR", "."),
    "se": Place("SEK", ","),
    "sg": Place("SGD", "."),
}


@lru_cache(maxsize=256)
def place_of(marketplace: str) -> Place | None:
    """Return how a marketplace such as `amazon.com.mx` writes prices; None if that is not known."""
    return _PLACES.get(marketplace.strip().casefold().removeprefix("www.").partition(".")[2])


@lru_cache(maxsize=256)
def meant_by(mark: str) -> frozenset[str]:
    """Return the currencies that a sign or code may mean. Empty: it is not known to mean one."""
    plain = mark.upper().strip(".")
    if plain in DIGITS:
        return frozenset({plain})
    code, sign = plain[:3], plain[3:]
    if code in DIGITS and sign and code in _SIGNS.get(sign, ()):
        return frozenset({code})
    return frozenset(_SIGNS.get(plain, ()))
