"""The deck: the order of the faults, determined by the seed alone.

Each card has a separate seed for its fault. A fault's random choices depend on the state of the run, but change neither
the order nor the duration of later faults.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_PAUSE_S = (0.4, 3.4)


@dataclass(frozen=True, slots=True)
class Card(Generic[T]):
    """A fault, the seed of its random choices, and the pause after it in seconds."""

    fault: T
    seed: str
    pause: float


class Deck(Generic[T]):
    """The opening faults in order, then every fault `shares` times, shuffled, repeatedly in a new order."""

    def __init__(self, seed: int, opening: Sequence[T], shares: Mapping[T, int]) -> None:
        self._seed = seed
        self._dice = random.Random(f"{seed}-deck")
        self._shares = shares
        self._left = list(opening)
        self._opening = len(self._left)
        self._played = 0
        self.top = self._next()

    @property
    def is_opened(self) -> bool:
        """Return whether all opening faults were played."""
        return self._played >= self._opening

    def pop(self) -> None:
        """Advance to the next card."""
        self._played += 1
        self.top = self._next()

    def _next(self) -> Card[T]:
        if not self._left:
            self._left = [fault for fault, copies in self._shares.items() for _ in range(copies)]
            self._dice.shuffle(self._left)
        return Card(self._left.pop(0), f"{self._seed}-fault-{self._played}", self._dice.uniform(*_PAUSE_S))
