"""The marketplace's catalogue depends on its seed only, and spells values in many ways."""

from __future__ import annotations

from app.simulators.marketplace import Behaviour, Category
from app.simulators.marketplace.catalogue import Catalogue, Listing
from app.simulators.marketplace.spellings import MARKETS, amount
from tests.helpers.customers import Customer


def listings(behaviour: Behaviour, category: str, place: str) -> list[Listing]:
    """Return all items of a category."""
    return [listing for page in Catalogue(behaviour).pages(place, category) for listing in page.listings]


def test_the_pages_depend_on_the_seed() -> None:
    """The same seed has the same items with the same spellings. Another seed differs."""
    one, same, other = (listings(Behaviour(seed=seed), "books", "amazon.de") for seed in (1, 1, 2))
    assert one == same
    assert {item.truth.external_id for item in one}.isdisjoint(item.truth.external_id for item in other)


def test_a_category_has_its_number_of_pages_and_items() -> None:
    """Pages follow each other by cursors, and the last has none. A category without pages has no first page."""
    catalogue = Catalogue(Behaviour(categories={"a": Category(pages=4, items=7), "none": Category(pages=0)}))
    pages = list(catalogue.pages("amazon.com", "a"))
    assert [(page.number, len(page.listings)) for page in pages] == [(0, 7), (1, 7), (2, 7), (3, 7)]
    assert pages[-1].next_cursor is None
    assert len({page.next_cursor for page in pages}) == 4
    assert catalogue.page("amazon.com", "none", "") is None
    for wrong in ("1", "1.0", "9.0", "-1", "x", f"{pages[0].next_cursor}0"):
        assert catalogue.page("amazon.com", "a", wrong) is None


def test_an_asin_exists_in_several_marketplaces_at_different_prices() -> None:
    """A category has the same products in every marketplace, in the marketplace's currency."""
    german, american = (listings(Behaviour(), "books", place) for place in ("amazon.de", "amazon.com"))
    assert [item.truth.external_id for item in german] == [item.truth.external_id for item in american]
    prices = [(one.truth.lowest, two.truth.lowest) for one, two in zip(german, american, strict=True)]
    assert all(one != two for one, two in prices if one is not None)
    assert {item.truth.currency for item in german} == {"EUR", None}


def test_a_seller_stands_on_several_pages() -> None:
    """`distinct` limits the sellers. A seller is shown by user name, by shop, or by both."""
    found = listings(Behaviour(default_category=Category(distinct=8)), "sellers", "ebay.com")
    assert len(found) == 60
    assert {item.truth.name for item in found} == {item.truth.name for item in found[:8]}
    assert len({item.data["display_name"] for item in found}) > 16
    assert {(item.truth.user is None, item.truth.shop is None) for item in found} == {
        (True, False),
        (False, True),
        (False, False),
    }


def test_ids_and_prices_have_many_spellings() -> None:
    """Ids in lower case, with spaces and without leading zeros. Prices as ranges or missing."""
    found = listings(Behaviour(default_category=Category(pages=20)), "books", "amazon.de")
    spelled = {item.spelled_id for item in found}
    assert any(text != text.strip() for text in spelled)
    assert any(text != text.upper() for text in spelled)
    books = [item for item in found if not item.truth.external_id.startswith("B0")]
    assert any(len(item.spelled_id.strip()) < 10 for item in books)
    texts = {item.data["price"] for item in found}
    assert "Currently unavailable" in texts
    assert any(" - " in text for text in texts)
    assert any("\u00a0" in text for text in texts)


def test_amounts_are_written_as_in_the_country() -> None:
    """Groups of three, in India of two after the first three. No fraction where the currency has none."""
    assert amount(MARKETS["amazon.de"], 119_999, ".") == "1.199,99"
    assert amount(MARKETS["amazon.in"], 12_999_900, ",") == "1,29,999.00"
    assert amount(MARKETS["amazon.co.jp"], 1_200, ",") == "1,200"
    assert amount(MARKETS["galaxus.ch"], 129_900, "'") == "1'299.00"
    assert amount(MARKETS["amazon.com.co"], 129_900_000, ".") == "1.299.000"
    assert amount(MARKETS["amazon.com"], 5, ",") == "0.05"


async def test_pages_are_served_as_the_catalogue_has_them(customer: Customer) -> None:
    """The pages that a customer buys are the category's items in their order."""
    answers = await customer.walk("books", "amazon.de")
    items = [item for answer in answers for item in answer["items"]]
    expected = listings(Behaviour(), "books", "amazon.de")
    assert [item["external_id"] for item in items] == [item.spelled_id for item in expected]
    assert [item["data"] for item in items] == [item.data for item in expected]
    assert {item["marketplace"] for item in items} == {"amazon.de"}
