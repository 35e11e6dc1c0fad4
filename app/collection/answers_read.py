"""Items of a marketplace's answers as a page's result carries them: normalised, or with the reason why not."""

from __future__ import annotations

from typing import Any

from app.collection.answers import RawItem
from app.collection.normalise import Refused
from app.collection.readings import read
from events.collection import FoundItem

UNREADABLE = "unreadable_id"


def found_item(raw: RawItem) -> FoundItem:
    """Return an item of an answer. An item whose id cannot be read has the error code `unreadable_id`."""
    reading = read(raw)
    if isinstance(reading, Refused):
        return _item(raw, raw.external_id, error_code=UNREADABLE, error_message=f"external_id: {reading.reason}")
    if raw.error_code:
        return _item(raw, reading.external_id, error_code=raw.error_code, error_message=raw.error_message or None)
    return _item(raw, reading.external_id, data=reading.data)


def _item(raw: RawItem, external_id: str, **values: Any) -> FoundItem:
    return FoundItem(marketplace=raw.marketplace, item_type=raw.item_type, external_id=external_id, **values)
