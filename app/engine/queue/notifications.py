"""The bell: how a worker hears of new rows without missing one.

Procrastinate's worker silences its event after each fetch. A notification that comes while a fetch looks in vain is
lost with that: its row waits for the next poll, a second here and five by default.
"""

from __future__ import annotations

import asyncio

from app.engine.queue.turns import Turns


class Bell(asyncio.Event):
    """An event that outlives one `clear()`: what rang during a fetch is heard after it.

    A ring that was answered already costs at most one fetch more. A worker whose deliveries are all taken does not
    fetch: its `turns` are told too, so that one makes room.
    """

    def __init__(self, turns: Turns | None = None) -> None:
        super().__init__()
        self._turns = turns
        self._is_new = False

    def set(self) -> None:
        """Ring."""
        self._is_new = True
        super().set()
        if self._turns is not None:
            self._turns.rang.set()

    def clear(self) -> None:
        """Silence what rang before the last time."""
        if self._is_new:
            self._is_new = False
        else:
            super().clear()
