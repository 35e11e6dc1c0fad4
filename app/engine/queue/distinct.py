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
_PARTS = 64
_LOW = _PARTS - 1


class Ids:
    """The ids of a stream of events. It may be of any length: of most events it keeps eight bytes."""

    def __init__(self) -> None:
        self._near: dict[int, Event[Any]] = {}
        self._far: list[array[int]] | None = None

    def add(self, events: Sequence[Event[Any]]) -> None:
        """Take in the next events. Raises `ReusedId` for one with the id of another that was added not long before."""
        if self._near and len(self._near) + len(events) > _NEAR:
            self._let_go()
        near, ids = self._near, {event.id.int: event for event in events}
        if len(ids) < len(events) or not near.keys().isdisjoint(ids):
            for event in events:
                if not same_fact(near.setdefault(event.id.int, event), event):
                    raise _refusal(event)
        elif near:
            near |= ids
        else:
            self._near = ids

    def check(self) -> None:
        """See to the whole stream. Raises `ReusedId` if events that were added far apart have one id."""
        if self._far is None:
            return
        self._let_go()
        if any(len(set(part)) < len(part) for part in self._far):
            message = "two of the events that a handler published have one id; give follow() a key for each"
            raise ReusedId(message)

    def _let_go(self) -> None:
        parts = self._far = self._far or [array("q") for _ in range(_PARTS)]
        for digest in map(hash, self._near):
            parts[digest & _LOW].append(digest)
        self._near = {}


def _refusal(event: Event[Any]) -> ReusedId:
    return ReusedId(
        f"{event.type} {event.id}: two different events with one id; give follow() a key of its own for each"
        " consequence of one type"
    )
