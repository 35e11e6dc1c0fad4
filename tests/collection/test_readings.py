"""Items of an answer are read: their ids normalised, and the meaning of their texts put beside them."""

from __future__ import annotations

from typing import Any

import pytest

from app.collection.answers import RawItem
from app.collection.normalise import Refused, seller_key
from app.collection.readings import Reading, read
from app.simulators.marketplace import Behaviour, Category
from app.simulators.marketplace.catalogue import Catalogue, Listing


def listings(marketplace: str) -> list[Listing]:
    """Return some hundred items of a marketplace, with what they mean."""
    catalogue = Catalogue(Behaviour(default_category=Category(pages=10, items=30, distinct=200)))
    return [listing for page in catalogue.pages(marketplace, "all") for listing in page.listings]


@pytest.mark.parametrize(
    "marketplace", ["amazon.de", "amazon.com", "amazon.co.jp", "amazon.in", "amazon.com.mx", "amazon.com.co"]
)
def test_products_are_read_as_they_are_meant(marketplace: str) -> None:
    """Every spelling of the simulated marketplace has the id and the price that it stands for."""
    for listing in listings(marketplace):
        found = read(RawItem.model_validate(listing.plain))
        truth = listing.truth
        assert isinstance(found, Reading)
        assert found.external_id == truth.external_id
        assert [found.data.get(field) for field in ("currency", "price_minor", "highest_price_minor")] == [
            truth.currency,
            truth.lowest,
            truth.highest,
        ]
        assert ("price_refused" in found.data) == (truth.currency is None)
        assert found.data["price"] == listing.data["price"]


def test_sellers_are_read_as_they_are_meant() -> None:
    """Every spelling has the names that it stands for, and one key for one seller."""
    for listing in listings("ebay.com"):
        found = read(RawItem.model_validate(listing.plain))
        truth = listing.truth
        assert isinstance(found, Reading)
        assert found.external_id == truth.external_id
        assert (found.data.get("user_name"), found.data.get("shop_slug")) == (truth.user, truth.shop)
        assert truth.name is not None
        assert found.data["normalized_name"] == seller_key(truth.name)


def raw(**changes: Any) -> RawItem:
    """Return an item of an answer."""
    item = {"item_type": "ebay_seller", "external_id": "Ana", "marketplace": "ebay.com", "data": {}}
    return RawItem.model_validate(item | changes)


@pytest.mark.parametrize("shown", [None, 7, " ", "\u200b"])
def test_a_seller_without_a_display_name_has_its_own_name(shown: Any) -> None:
    """The key of a seller is never empty."""
    found = read(raw(data={"display_name": shown}))
    assert isinstance(found, Reading)
    assert (found.external_id, found.data["normalized_name"]) == ("user:ana", "ana")


def test_an_item_without_a_readable_id_is_refused() -> None:
    """The reason says what is wrong with the id; a price that cannot be read is no reason."""
    assert isinstance(read(raw(external_id="a b")), Refused)
    product = {"item_type": "amazon_product", "marketplace": "amazon.de"}
    assert isinstance(read(raw(**product, external_id="B07")), Refused)
    found = read(raw(**product, external_id="b07xyz1234", data={"price": 5}))
    assert found == Reading("B07XYZ1234", {"price": 5, "price_refused": "a price is a text, not int"})
    assert read(raw(**product, external_id="b07xyz1234")) == Reading("B07XYZ1234", {})
