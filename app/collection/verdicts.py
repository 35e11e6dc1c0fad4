"""Decide about the items of a page's result: completed, failed, skipped, or asked for again. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from app.collection.normalise import seller_key
from events.collection import FoundItem, PageCompleted

ASKED_AGAIN = frozenset({"blocked", "timeout", "temporary", "unavailable", "rate_limited", "internal_error"})
"""Error codes of items that a marketplace may have at the next request."""
MOST_REPEATS = 2
"""How often an item with such an error is asked for again."""
UNWANTED = "unwanted"
NOT_RETURNED = "not_returned"
_NAMES = ("user_name", "shop_slug", "normalized_name")
"""The fields of a seller's data that name the seller."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an item. `again`: it is asked for once more."""

    status: str
    error_code: str | None = None
    error_message: str | None = None

    @property
    def again(self) -> bool:
        """Whether the item waits for another request."""
        return self.status == "again"


def unwanted_names(unwanted: Collection[str]) -> frozenset[str]:
    """Return the ids and names of a run's list of unwanted items in the forms in which `judge()` compares them."""
    return frozenset(form for name in unwanted for form in (name.casefold(), seller_key(name)))


def judge(item: FoundItem, unwanted: frozenset[str], repeats_left: int) -> Verdict:
    """Decide about an item of a result. `unwanted`: of `unwanted_names()`."""
    if unwanted and (name := next((name for name in _names(item) if name.casefold() in unwanted), None)):
        return Verdict("skipped", UNWANTED, f"{name} is in the run's list of unwanted items")
    if item.error_code is None:
        return Verdict("completed")
    if item.error_code in ASKED_AGAIN and repeats_left > 0:
        return Verdict("again", item.error_code, item.error_message)
    return Verdict("failed", item.error_code, item.error_message)


def missing(data: PageCompleted) -> Verdict:
    """Decide about an item that was asked for, and that the result does not contain."""
    if data.status == "failed":
        return Verdict("failed", data.error_code, data.error_message)
    return Verdict("failed", NOT_RETURNED, "the marketplace left the item out of its answer")


def _names(item: FoundItem) -> Iterator[str]:
    yield item.external_id
    for field in _NAMES:
        if isinstance(value := (item.data or {}).get(field), str):
            yield value
