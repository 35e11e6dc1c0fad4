"""Notifications: wake a worker for new rows without losing a NOTIFY that arrives during an empty fetch.

Procrastinate's worker clears its event after each fetch, and so loses a NOTIFY that arrived during the fetch. The row
then waits for the next poll: one second here, five by default.
"""

from __future__ import annotations

import asyncio

from app.engine.queue.fair_share import FairShare


class LatchedNotification(asyncio.Event):
    """An event that survives one `clear()`, so that a notification during a fetch is handled after it.

    A notification that was handled already costs at most one more fetch. A worker at capacity does not fetch: its
    `fair_share` is notified too, so that a delivery can yield.
    """

    def __init__(self, fair_share: FairShare | None = None) -> None:
        super().__init__()
        self._fair_share = fair_share
        self._is_new = False
        if fair_share is not None:
            fair_share.wake = self.set

    def set(self) -> None:
        """Set the event, also for the next fetch."""
        self._is_new = True
        super().set()
        if self._fair_share is not None:
            self._fair_share.rows_arrived.set()

    def clear(self) -> None:
        """Clear the event unless it was set since the last call."""
        if self._is_new:
            self._is_new = False
        else:
            super().clear()
