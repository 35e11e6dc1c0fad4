"""What the marketplace has to sell: the pages of a category, from a seed.

The same seed gives the same pages in every process. A product's id depends on the category's name and its place there,
and its price also on the marketplace: a category that exists in two marketplaces has the same ASINs at other prices.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.simulators.marketplace import spellings
from app.simulators.marketplace.behaviour import Behaviour, Category

_ASIN_LETTERS = "0123456789BCDFGHJKLMNPQRSTVWXYZ"
_ONE_IN = 10  # of the products: a book, a price that is a range, no price
NOT_FOUND = "not_found"
_ITEM_CODES = ("blocked", "timeout", NOT_FOUND)  # the first two are over when the item is bought alone


@dataclass(frozen=True, slots=True)
class Truth:
    """What an item's raw texts mean. `user` and `shop`: the names of a seller; the price in minor units."""

    external_id: str
    currency: str | None = None
    lowest: int | None = None
    highest: int | None = None
    name: str | None = None
    user: str | None = None
    shop: str | None = None


@dataclass(frozen=True)
class Listing:
    """An item as the marketplace writes it, and what that means. `code`: the error that it has instead of data."""

    marketplace: str
    item_type: str
    spelled_id: str
    data: dict[str, Any]
    truth: Truth
    code: str | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the item fails also when it is bought alone."""
        return self.code == NOT_FOUND

    def answer(self, code: str | None, message: str = "") -> dict[str, Any]:
        """Return the item of an answer."""
        about = {"item_type": self.item_type, "external_id": self.spelled_id, "marketplace": self.marketplace}
        if code is not None:
            return {**about, "error_code": code, "error_message": message or f"item error: {code}"}
        return {**about, "data": self.data}

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The item of an answer, without errors by rule."""
        return self.answer(self.code)


@dataclass(frozen=True)
class Page:
    """A page: its number from 0, the cursor of the next one, and its items."""

    number: int
    next_cursor: str | None
    listings: tuple[Listing, ...]

    @cached_property
    def plain(self) -> str:
        """The content of an answer, without errors by rule."""
        return content(self.next_cursor, [listing.plain for listing in self.listings])


def content(next_cursor: str | None, items: Sequence[dict[str, Any]]) -> str:
    """Return next cursor and items as the fields of a JSON object, without its braces."""
    return json.dumps({"next_cursor": next_cursor, "items": items}, ensure_ascii=False, separators=(",", ":"))[1:-1]


class Catalogue:
    """The pages of one behaviour's seed and categories. Remembers what it has made."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._source = _source(behaviour)
        self._pages: dict[tuple[str, str, str], Page | None] = {}
        self._shown: dict[tuple[str, str], Listing] = {}

    def serves(self, behaviour: Behaviour) -> bool:
        """Return whether the pages are also those of another behaviour."""
        return self._source == _source(behaviour)

    def page(self, marketplace: str, category_id: str, cursor: str) -> Page | None:
        """Return a page; None if the category or the cursor is unknown."""
        key = (marketplace, category_id, cursor)
        if key not in self._pages:
            self._pages[key] = self._make(*key)
        return self._pages[key]

    def listing(self, marketplace: str, external_id: str) -> Listing | None:
        """Return an item of a page that was read before, by its exact id; None if there is none."""
        return self._shown.get((marketplace, external_id))

    def pages(self, marketplace: str, category_id: str) -> Iterator[Page]:
        """Yield all pages of a category in their order."""
        cursor: str | None = ""
        while cursor is not None and (page := self.page(marketplace, category_id, cursor)) is not None:
            yield page
            cursor = page.next_cursor

    def cursor(self, category_id: str, number: int) -> str:
        """Return the cursor of a page. Callers cannot guess it."""
        if number == 0:
            return ""
        seal = hashlib.sha256(f"{self._behaviour.seed}/{category_id}/{number}".encode()).hexdigest()
        return f"{number}.{seal[:16]}"

    @staticmethod
    def missing(marketplace: str, external_id: str) -> Listing:
        """Return the item of an answer for an id that no page has."""
        kind = _kind(marketplace)
        return Listing(marketplace, kind, external_id, {}, Truth(external_id), NOT_FOUND)

    def _make(self, marketplace: str, category_id: str, cursor: str) -> Page | None:
        category = self._behaviour.category(category_id)
        written = cursor.partition(".")[0] or "0"
        number = int(written) if written.isascii() and written.isdigit() else -1
        if category is None or not 0 <= number < category.pages or cursor != self.cursor(category_id, number):
            return None
        first = number * category.items
        listings = tuple(
            self._listing(marketplace, category_id, category, place) for place in range(first, first + category.items)
        )
        self._shown |= {(marketplace, listing.truth.external_id): listing for listing in listings}
        is_last = number + 1 == category.pages
        return Page(number, None if is_last else self.cursor(category_id, number + 1), listings)

    def _listing(self, marketplace: str, category_id: str, category: Category, place: int) -> Listing:
        number = place % category.distinct if category.distinct else place
        seed = (self._behaviour.seed, category_id, number)
        spelling = random.Random(repr((*seed, marketplace, place)))
        dice = random.Random(repr((*seed, "item")))
        code = dice.choice(_ITEM_CODES) if dice.random() < category.item_error_rate else None
        if _kind(marketplace) == "ebay_seller":
            return _seller(marketplace, dice, spelling, number, code)
        return _product(marketplace, dice, spelling, code)


def _kind(marketplace: str) -> str:
    return "ebay_seller" if marketplace.startswith("ebay") else "amazon_product"


def _source(behaviour: Behaviour) -> tuple[Any, ...]:
    return (behaviour.seed, behaviour.categories, behaviour.default_category)


def _product(marketplace: str, dice: random.Random, spelling: random.Random, code: str | None) -> Listing:
    is_book = dice.randrange(_ONE_IN) == 0
    exact = (
        spellings.isbn_of(dice.randrange(10**5, 10**7)) if is_book else "B0" + "".join(dice.choices(_ASIN_LETTERS, k=8))
    )
    market = spellings.MARKETS[marketplace]
    price = random.Random(repr((marketplace, exact)))
    lowest = price.randrange(100, 250_000) * (100 if market.currency == "COP" else 1)
    is_range = dice.randrange(_ONE_IN) == 0
    highest = lowest + price.randrange(1, 5_000) * 100 if is_range else lowest
    data: dict[str, Any] = {"title": f"Product {exact}", "price": "Currently unavailable", "rating": 4.5}
    truth = Truth(exact)
    if price.randrange(_ONE_IN):
        data["price"] = spellings.price(spelling, marketplace, lowest, highest)
        truth = Truth(exact, market.currency, lowest, highest)
    spelled = spellings.isbn(spelling, exact) if is_book else spellings.asin(spelling, exact)
    return Listing(marketplace, _kind(marketplace), spelled, data, truth, code)


def _seller(marketplace: str, dice: random.Random, spelling: random.Random, number: int, code: str | None) -> Listing:
    name = spellings.company(number)
    user, shop = f"seller_{number}", f"shop{number}"
    data: dict[str, Any] = {
        "display_name": spellings.company_name(spelling, name),
        "feedback_score": dice.randrange(100_000),
        "item_count": dice.randrange(10_000),
    }
    # A page shows a seller by the user name, by the shop, or by both: only then it is known that they are one.
    shown = spelling.choice(("user", "shop", "both"))
    if shown != "shop":
        data["user_name"] = spellings.user_name(spelling, user)
    if shown != "user":
        data["shop_slug"] = shop
    spelled = data["shop_slug"] if shown == "shop" else data["user_name"]
    truth = Truth(
        f"shop:{shop}" if shown == "shop" else f"user:{user}",
        name=name,
        user=None if shown == "shop" else user,
        shop=None if shown == "user" else shop,
    )
    return Listing(marketplace, _kind(marketplace), spelled, data, truth, code)
