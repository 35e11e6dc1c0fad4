"""Answers of marketplaces: every field is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from app.collection.answers import LARGEST_DATA, MOST_CENTS, MOST_ITEMS, Page, PageResult, RawItem, printable


def item(**values: Any) -> dict[str, Any]:
    """Return a valid item with other values."""
    return {"item_type": "ebay_seller", "external_id": "s", "marketplace": "ebay.de", **values}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("external_id", " "),
        ("external_id", "x" * 201),
        ("external_id", "a\nb"),
        ("item_type", "book"),
        ("error_code", "a b"),
        ("error_code", "x" * 101),
        ("data", {"a": "\x00"}),
        ("data", {"a": "\\u0000"}),
        ("data", {"a": [float("nan")]}),
        ("data", {"a": {"b": float("inf")}}),
        ("data", {"a": 10**18}),
        ("data", {"a": "x" * LARGEST_DATA}),
    ],
)
def test_an_item_that_the_database_cannot_store_is_refused(field: str, value: Any) -> None:
    """Control characters, NUL, NaN, infinity, large numbers, and long or blank texts."""
    with pytest.raises(ValidationError, match=field):
        RawItem.model_validate(item(**{field: value}))


def test_space_around_names_is_removed() -> None:
    """A no-break space within is kept. Messages lose control characters and end at 500 characters."""
    found = RawItem.model_validate(item(external_id=" a\u00a0b ", error_message="a\nb\x00" + "x" * 600))
    assert found.external_id == "a\u00a0b"
    assert found.error_message is not None
    assert (found.error_message[:5], len(found.error_message)) == ("a b x", 500)
    assert printable(" plain ") == "plain"


@pytest.mark.parametrize("cents", [-1, MOST_CENTS + 1, "5", 1.5, True])
def test_a_bill_is_a_whole_number_within_limits(cents: object) -> None:
    """Numbers in texts are refused."""
    with pytest.raises(ValidationError, match="charged_cents"):
        PageResult.model_validate({"charged_cents": cents, "items": []})


def test_a_page_has_at_most_500_items() -> None:
    """That many fit into an event."""
    PageResult.model_validate({"charged_cents": 0, "items": [item()] * MOST_ITEMS})
    with pytest.raises(ValidationError, match="items"):
        PageResult.model_validate({"charged_cents": 0, "items": [item()] * (MOST_ITEMS + 1)})


def test_the_result_of_a_page_leaves_out_its_reference() -> None:
    """Bill, cursor and items are the same."""
    page = Page.model_validate({"charged_cents": 5, "next_cursor": "n", "items": [item()], "reference": "r"})
    result = page.result()
    assert type(result) is PageResult
    assert (result.charged_cents, result.next_cursor, result.items) == (5, "n", page.items)
