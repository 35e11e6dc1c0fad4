"""Event ids: reject two different events with one id in one call of `publish()` or in one delivery.

The queue and the ledger would keep one of the two events and lose the other. An exact repeat is harmless: an event with
a deterministic id is applied once, however often it is published.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from app.errors import ReusedId
from events import Event

_NEAR = 5000
"""Most recent events that are kept whole, so that a repeat can be compared."""
_AT_ONCE = 500_000
"""Most ids that are compared at once (about 30 MB). A longer stream is compared in parts."""
_ID = slice(27, 63)
"""Position of the id in an event's JSON. Reading it there is cheaper than reading each event's attribute again."""


class Ids:
    """The ids of a stream of events, of any length. Of most events only eight bytes are kept."""

    def __init__(self) -> None:
        self._near: dict[str, Event[Any]] = {}
        self._far: array[int] = array("q")

    def add(self, events: Sequence[Event[Any]], texts: Sequence[str]) -> None:
        """Add the next events, with the JSON of each in `texts`.

        Raises `ReusedId` for an event with the id of a different event that was added recently.
        """
        if self._near and len(self._near) + len(events) > _NEAR:
            self._let_go()
        near, ids = self._near, {text[_ID]: event for text, event in zip(texts, events, strict=True)}
        if len(ids) < len(events) or not near.keys().isdisjoint(ids):
            for event in events:
                if not same_fact(near.setdefault(str(event.id), event), event):
                    raise _refusal(event)
        elif near:
            near |= ids
        else:
            self._near = ids

    def check(self) -> None:
        """Check the whole stream. Raises `ReusedId` if two events that were added far apart share an id."""
        if not self._far:
            return
        self._let_go()
        if _different(self._far) < len(self._far):
            message = "two of the events that a handler published have one id; give follow() a key for each"
            raise ReusedId(message)

    def _let_go(self) -> None:
        self._far.extend(map(hash, self._near))
        self._near = {}


def _different(digests: array[int]) -> int:
    if len(digests) <= _AT_ONCE:
        return len(set(digests))
    parts = [array("q") for _ in range(1 + len(digests) // _AT_ONCE)]
    for digest in digests:
        parts[digest % len(parts)].append(digest)
    return sum(len(set(part)) for part in parts)


def same_fact(one: Event[Any], other: Event[Any]) -> bool:
    """Whether two events with one id are the same event. Time, cause and subject may differ between repeats."""
    return one.type == other.type and one.tenantid == other.tenantid and bool(one.data == other.data)


def _refusal(event: Event[Any]) -> ReusedId:
    return ReusedId(
        f"{event.type} {event.id}: two different events with one id; give follow() a key of its own for each"
        " consequence of one type"
    )
