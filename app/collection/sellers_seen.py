"""Sellers found by runs: record the sellers of items that have a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.collection.merges import merge_as_told
from app.collection.normalise import Refused, SellerName, seller_key, seller_names
from app.collection.sellers import Seen, record_seen
from app.context import Connection

PLATFORM = "ebay"
_LONGEST = 200
_MOST = 2_147_483_647


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result of an item of a run of an organisation, as in `ItemCompleted`."""

    org_id: UUID
    run_id: UUID
    item_type: str
    external_id: str
    status: str
    data: Mapping[str, Any] | None


def record(connection: Connection, results: Sequence[ItemResult]) -> None:
    """Record the sellers of results that count for the first time, in the caller's transaction.

    A user and a shop are two sellers until an item shows both; then the shop is merged into the user.
    """
    sellers = [item for item in results if item.item_type == "ebay_seller" and item.status == "completed"]
    if not sellers:
        return
    found = [one for item in sellers for one in _seen(item)]
    record_seen(connection, [seen for seen, _ in found])
    merge_as_told(
        connection, [(seen.org_id, PLATFORM, seen.normalized_name, owner) for seen, owner in found if owner is not None]
    )


def key(name: SellerName, shown: str) -> str:
    """Return the normalised name of a seller that is shown as `shown`. A shop's begins with `shop:`.

    Empty if nothing of the name is left.
    """
    text = seller_key(shown)
    return f"shop:{text}" if text and name.kind == "shop" else text


def _seen(item: ItemResult) -> Iterator[tuple[Seen, str | None]]:
    """Yield the sellers of an item, each with the normalised name of its owner, if the item shows both."""
    data = item.data or {}
    names = seller_names(item.external_id, data)
    if isinstance(names, Refused):
        return
    for name in (names.user, names.shop):
        shown = _shown(data, name) if name else ""
        if name is not None and (normalized := key(name, shown)):
            seen = Seen(
                org_id=item.org_id,
                run_id=item.run_id,
                display_name=shown,
                normalized_name=normalized,
                platform=PLATFORM,
                platform_id=name.name,
                feedback_score=_count(data, "feedback_score"),
                item_count=_count(data, "item_count"),
            )
            owner = key(names.user, _shown(data, names.user)) if names.user and name.kind == "shop" else None
            yield seen, owner


def _shown(data: Mapping[str, Any], name: SellerName) -> str:
    """Return the name that the item shows to people; without one, the user's or the shop's own name."""
    text = data.get("display_name")
    plain = " ".join(text.split())[:_LONGEST] if isinstance(text, str) else ""
    return plain if plain and seller_key(plain) else name.name


def _count(data: Mapping[str, Any], field: str) -> int | None:
    value = data.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else None
