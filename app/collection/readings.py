"""Read an item of an answer: its id, and what its texts mean. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

from app.collection.answers import RawItem
from app.collection.normalise import Price, Refused, asin, price, seller_key, seller_names


@dataclass(frozen=True, slots=True)
class Reading:
    """An item with its normalised id. `data`: as the marketplace wrote it, and beside it what it means.

    Of a product `currency`, `price_minor` and `highest_price_minor` (in minor units), or `price_refused` with the
    reason. Of a seller `user_name`, `shop_slug` (in small letters) and `normalized_name`.
    """

    external_id: str
    data: dict[str, Any]


def read(raw: RawItem) -> Reading | Refused:
    """Return what an item means, or the reason why its id cannot be read. A price that cannot be read is no reason."""
    match raw.item_type:
        case "amazon_product":
            return _product(raw)
        case "ebay_seller":
            return _seller(raw)
        case _:
            assert_never(raw.item_type)


def _product(raw: RawItem) -> Reading | Refused:
    external_id = asin(raw.external_id)
    if isinstance(external_id, Refused):
        return external_id
    return Reading(external_id, {**raw.data, **_price(raw)})


def _price(raw: RawItem) -> dict[str, Any]:
    if (text := raw.data.get("price")) is None:
        return {}
    match price(text, raw.marketplace):
        case Price(currency, lowest, highest):
            return {"currency": currency, "price_minor": lowest, "highest_price_minor": highest}
        case Refused(reason):
            return {"price_refused": reason}


def _seller(raw: RawItem) -> Reading | Refused:
    names = seller_names(raw.external_id, raw.data)
    if isinstance(names, Refused):
        return names
    shown = raw.data.get("display_name")
    key = seller_key(shown) if isinstance(shown, str) else ""
    known = {"user_name": names.user, "shop_slug": names.shop}
    data = {field: name.name for field, name in known.items() if name is not None}
    return Reading(str(names.main), {**raw.data, **data, "normalized_name": key or names.main.name})
