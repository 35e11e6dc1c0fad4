"""Normalise what marketplaces write: product ids, names of sellers, and whole items. Prices are in `prices`.

Everything here is pure. What cannot be read is `Refused`, with the reason; nothing is guessed.

A seller has two kinds of name: the user name of an account, and the slug of a shop. The same letters as a user name and
as a slug may be two sellers, so they stay apart until a source shows both names for one seller.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anyascii import anyascii

from app.collection.prices import Price, Refused, price

__all__ = [
    "Price",
    "Refused",
    "SellerName",
    "SellerNames",
    "asin",
    "price",
    "seller_key",
    "seller_name",
    "seller_names",
]

_ASIN = re.compile(r"B[0-9A-Z]{9}")
_ISBN = re.compile(r"[0-9]{5,9}[0-9X]")
_ISBN_LENGTH = 10
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff]")
_SELLER = re.compile(r"[^\s/\\?#]{1,64}")
_SELLER_URL = re.compile(
    r"(?:https?://)?(?:[a-z0-9-]+\.)*ebay(?:\.[a-z]{2,3}){1,2}/(?P<kind>usr|str)/(?P<name>[^/?#]+).*"
)


def asin(text: str) -> str | Refused:
    """Return a product's id in capital letters: an ASIN, or a ten-digit ISBN.

    Leading zeros that an ISBN has lost are restored if its check digit agrees, at most four of them: a shorter number
    is more often something else, and one number in eleven agrees by chance.
    """
    plain = _trimmed(text).upper()
    if _ASIN.fullmatch(plain):
        return plain
    if not _ISBN.fullmatch(plain):
        return Refused(f"{_shown(text)} is no ASIN: B and nine letters or digits, or a ten-digit ISBN")
    whole = plain.rjust(_ISBN_LENGTH, "0")
    if not _is_isbn(whole) or not whole.strip("0"):  # zeros stand for a missing number
        return Refused(f"{_shown(text)} is no ISBN: its check digit does not agree")
    return whole


def _is_isbn(ten: str) -> bool:
    values = [10 if letter == "X" else int(letter) for letter in ten]
    return sum(value * weight for value, weight in zip(values, range(10, 0, -1), strict=True)) % 11 == 0


@dataclass(frozen=True, slots=True)
class SellerName:
    """A name of a seller at eBay, in small letters: of the user, or of the shop (its slug)."""

    kind: Literal["user", "shop"]
    name: str

    def __str__(self) -> str:
        """Return the name with its kind, such as `user:top_deals`."""
        return f"{self.kind}:{self.name}"


def seller_name(text: str, kind: Literal["user", "shop"] = "user") -> SellerName | Refused:
    """Return a seller's name. `kind`: what the text is, unless it says so itself.

    It says so as an address (`ebay.com/usr/…` of a user, `ebay.com/str/…` of a shop), and in the form of `SellerName`.
    """
    plain = unicodedata.normalize("NFKC", _trimmed(text)).casefold()
    if match := _SELLER_URL.fullmatch(plain):
        kind, plain = ("user" if match["kind"] == "usr" else "shop"), match["name"]
    elif plain.startswith(("user:", "shop:")):
        kind, plain = ("user" if plain.startswith("user:") else "shop"), plain[5:]
    if not _SELLER.fullmatch(plain) or not plain.isprintable():
        return Refused(f"{_shown(text)} is no seller's name: 1 to 64 characters without spaces")
    return SellerName(kind, plain)


@dataclass(frozen=True, slots=True)
class SellerNames:
    """The names that a source shows for one seller. With both, user and shop are one seller."""

    user: SellerName | None
    shop: SellerName | None

    @property
    def main(self) -> SellerName:
        """The name by which the seller is counted: the user's, if it is known."""
        found = self.user or self.shop
        if found is None:
            raise TypeError(self)
        return found


def seller_names(external_id: str, data: Mapping[str, Any]) -> SellerNames | Refused:
    """Return the names of an item that is a seller: from `user_name` and `shop_slug` of its data, and from its id.

    An id that is neither of them is the user's name. Two different user names or shops are refused.
    """
    user, shop = (_field(data, "user_name", "user"), _field(data, "shop_slug", "shop"))
    if isinstance(user, Refused):
        return user
    if isinstance(shop, Refused):
        return shop
    own = seller_name(external_id)
    if isinstance(own, Refused):
        return own
    if shop is not None and own.name == shop.name:
        own = shop
    known = user if own.kind == "user" else shop
    if known is not None and known != own:
        return Refused(f"two names: {known} and {own}")
    return SellerNames(own, shop) if own.kind == "user" else SellerNames(user, own)


def _field(data: Mapping[str, Any], field: str, kind: Literal["user", "shop"]) -> SellerName | Refused | None:
    text = data.get(field)
    if text is None:
        return None
    if not isinstance(text, str):
        return Refused(f"{field} is a text, not {type(text).__name__}")
    found = seller_name(text, kind)
    if isinstance(found, SellerName) and found.kind != kind:
        return Refused(f"{field} is the name of a {found.kind}")
    return found


# Legal forms without dots and spaces. The second list is of forms that are also words: they are only taken for a legal
# form if they are written with dots (`S.p.A.`), so that `Alpine Spa` keeps its name.
_LEGAL_FORMS = (
    "ab ag aktiengesellschaft aps bv bvba coinc cokg coltd corp corporation doo eirl eurl gbr gesmbh gmbh gmbhandcokg "
    "haftungsbeschrankt inc incorporated kft kg lda limited limitada llc llp ltd ltda mbh nv ohg oy oyj plc pte pteltd "
    "pty ptyltd sa sadecv sapidecv sarl sas sasu sderl sderldecv slu sociedadanonima spoo spzoo srl srls ug"
)
_FORMS = frozenset(_LEGAL_FORMS.split())
_FORMS_IF_DOTTED = frozenset({"as", "cv", "ek", "eu", "kk", "lp", "sca", "sci", "scs", "se", "sl", "snc", "spa"})
_MOST_PARTS = 8  # s. de r. l. de c. v.
_LONGEST_KEY = 200
_MOST_READ = 1_000
_MARKS = re.compile("[\u00a9\u00ae\u2120\u2122]")  # copyright and trade marks
_EAST_ASIAN_FORMS = re.compile(
    r"株式会社|有限会社|合同会社|股份有限公司|有限责任公司|有限公司|\((?:株|有|주)\)|주식회사"
)
_WORD = re.compile(r"[a-z0-9]+")


def seller_key(name: str) -> str:
    """Return the name by which sellers are the same: without case, accents, punctuation and legal form.

    Letters of all scripts become ASCII. A name that has nothing else is kept as it is, in small letters; blank text
    gives an empty key. A key has at most 200 characters.
    """
    name = name[:_MOST_READ]
    plain = unicodedata.normalize("NFKC", _MARKS.sub(" ", _INVISIBLE.sub("", name))).casefold()
    plain = " ".join(plain.split())
    ascii_text = anyascii(_EAST_ASIAN_FORMS.sub(" ", plain)).casefold().replace("'", "")
    words = _first(_WORD.findall(ascii_text.replace("&", " and ")))
    return " ".join(_without_form(words)) or plain[:_LONGEST_KEY].strip()


def _first(words: list[str]) -> list[str]:
    """Return as many words as fit into a key, which is indexed."""
    while len(" ".join(words)) > _LONGEST_KEY:
        words = words[:-1] if len(words) > 1 else [words[0][:_LONGEST_KEY]]
    return words


def _without_form(words: list[str]) -> list[str]:
    """Leave legal forms at the end out, as long as a word is left."""
    for parts in range(min(_MOST_PARTS, len(words) - 1), 0, -1):
        form = "".join(words[-parts:])
        if form in _FORMS or (parts > 1 and form in _FORMS_IF_DOTTED):
            return _without_form(words[:-parts])
    if len(words) > 1 and words[-1] == "and":  # of `& Co. KG`
        return _without_form(words[:-1])
    return words


def _trimmed(text: str) -> str:
    return _INVISIBLE.sub("", text).strip()


def _shown(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return repr(printable if len(printable) <= 40 else f"{printable[:40]}…")  # noqa: PLR2004 - as much as a table shows
