"""Distinct: no two different events are published under one id by one call, or by one delivery's handlers.

The queue and the ledger would keep one of them and lose the other. An exact repeat is harmless: a fact that is said
twice, under an id that it determines, is applied once.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from app.engine.delivery.ledger import same_fact
from app.errors import ReusedId
from events import Event

_NEAR = 5000
"""Events that are kept whole, so that a repeat can be compared."""
_AT_ONCE = 500_000
"""Ids that are compared at once, in some 30 MB; of more, one part after the other."""
_ID = slice(27, 63)
"""Where an event's JSON has its id: reading it there costs less than touching every event once more."""


class Ids:
    """The ids of a stream of events. It may be of any length: of most events it keeps eight bytes."""

    def __init__(self) -> None:
        self._near: dict[str, Event[Any]] = {}
        self._far: array[int] = array("q")

    def add(self, events: Sequence[Event[Any]], texts: Sequence[str]) -> None:
        """Take in the next events, with the JSON of each.

        Raises `ReusedId` for one with the id of another that was added not long before.
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
        """See to the whole stream. Raises `ReusedId` if events that were added far apart have one id."""
        if not self._far:
            return
        self._let_go()
        parts = 1 + len(self._far) // _AT_ONCE
        different = sum(len({digest for digest in self._far if digest % parts == part}) for part in range(parts))
        if different < len(self._far):
            message = "two of the events that a handler published have one id; give follow() a key for each"
            raise ReusedId(message)

    def _let_go(self) -> None:
        self._far.extend(map(hash, self._near))
        self._near = {}


def _refusal(event: Event[Any]) -> ReusedId:
    return ReusedId(
        f"{event.type} {event.id}: two different events with one id; give follow() a key of its own for each"
        " consequence of one type"
    )
