"""Sibling limit: the number of waiting events that a delivery includes, so that its transaction stays short.

Handlers that write sets process hundreds of events in milliseconds. If each event takes long, a delivery of hundreds
would be one transaction of seconds: other workers could not share it, and a crash would undo all of it.
"""

from __future__ import annotations

from app.engine.routing import MOST_IN_A_ROW

FIRST = 32
"""Waiting events that a worker's first delivery includes.

A quick delivery doubles the number, a very quick one quadruples it.
"""
TARGET_S = 0.5
"""Longest time in seconds that a delivery should take."""


class SiblingLimit:
    """The sibling limit of a worker's deliveries. Safe to share among threads."""

    def __init__(self) -> None:
        self._most = FIRST

    def current(self) -> int:
        """Return the number of waiting events that the next delivery may include."""
        return self._most

    def adjust(self, events: int, seconds: float) -> None:
        """Adjust the limit after a committed delivery of `events` events that took `seconds`."""
        if seconds > TARGET_S:
            self._most = min(self._most, max(1, int(events * TARGET_S / seconds)))
        elif seconds < TARGET_S / 2:
            factor = 4 if seconds < TARGET_S / 8 else 2
            self._most = min(MOST_IN_A_ROW - 1, factor * self._most)
