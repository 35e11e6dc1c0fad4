"""Counters of a simulator's calls. Only its event loop writes them. A test in another thread may read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Traffic:
    """Bytes of endless answers, and the most concurrent calls of one account."""

    flooded: int = 0
    most_at_once: int = 0
    _in_progress: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def in_progress(self, account: str) -> Iterator[int]:
        """Count one call during the block. Yields the account's concurrent calls, including this one."""
        self._in_progress[account] += 1
        at_once = self._in_progress[account]
        self.most_at_once = max(self.most_at_once, at_once)
        try:
            yield at_once
        finally:
            self._in_progress[account] -= 1

    def flood(self, sent: int) -> None:
        """Count bytes of endless answers."""
        self.flooded += sent
