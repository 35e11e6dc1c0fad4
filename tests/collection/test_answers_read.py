"""Items of answers as a page's result has them."""

from __future__ import annotations

from app.collection.answers import RawItem
from app.collection.answers_read import UNREADABLE, found_item


def raw(external_id: str, **values: object) -> RawItem:
    """Return a product as the marketplace spells it."""
    own = {"item_type": "amazon_product", "marketplace": "amazon.de", "data": {"price": "1,50 €"}, **values}
    return RawItem.model_validate({"external_id": external_id, **own})


def test_a_readable_item_has_its_normalised_id_and_data() -> None:
    """The price is added in minor units."""
    found = found_item(raw("b000000001 "))
    assert (found.external_id, found.marketplace, found.item_type) == ("B000000001", "amazon.de", "amazon_product")
    assert found.data is not None
    assert (found.data["price"], found.data["price_minor"], found.data["currency"]) == ("1,50 €", 150, "EUR")
    assert (found.error_code, found.error_message) == (None, None)


def test_an_item_with_an_error_has_no_data() -> None:
    """An empty message is none."""
    found = found_item(raw("b000000001", error_code="throttled", error_message=" "))
    assert (found.external_id, found.data) == ("B000000001", None)
    assert (found.error_code, found.error_message) == ("throttled", None)


def test_an_unreadable_id_is_an_error_of_the_item() -> None:
    """The item keeps its spelling. The marketplace's own error counts less."""
    found = found_item(raw("??", error_code="throttled"))
    assert (found.external_id, found.data, found.error_code) == ("??", None, UNREADABLE)
    assert (found.error_message or "").startswith("external_id: ")
