"""Sibling limit: how many waiting events a delivery takes along, so that its transaction stays short.

Handlers that write sets take hundreds of events in some milliseconds. Where each event takes long, a delivery of
hundreds would be one transaction of seconds: other workers could not share it, and a death would undo all of it.
"""

from __future__ import annotations

from app.engine.routing import MOST_IN_A_ROW

FIRST = 32
"""Waiting events that the first delivery of a worker takes along. A quick delivery doubles the number for the next, a
very quick one quadruples it."""
TARGET_S = 0.5
"""Seconds that a delivery should not take longer than."""


class SiblingLimit:
    """The sibling limit of a worker's deliveries. Safe to share among threads."""

    def __init__(self) -> None:
        self._most = FIRST

    def current(self) -> int:
        """How many waiting events the next delivery may take along."""
        return self._most

    def adjust(self, events: int, seconds: float) -> None:
        """Learn from a delivery of so many events that was committed after so many seconds."""
        if seconds > TARGET_S:
            self._most = min(self._most, max(1, int(events * TARGET_S / seconds)))
        elif seconds < TARGET_S / 2:
            factor = 4 if seconds < TARGET_S / 8 else 2
            self._most = min(MOST_IN_A_ROW - 1, factor * self._most)
