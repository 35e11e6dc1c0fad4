"""The deck: which fault comes when, decided by the seed alone.

Each card carries a seed of its own for the fault. So what a fault draws, which depends on the moment, changes neither
the order of the faults after it nor how long they last.
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
    """A fault, the seed of its own dice, and the pause after it in seconds."""

    fault: T
    seed: str
    pause: float


class Deck(Generic[T]):
    """The opening, then every fault as often as `shares` says, shuffled; then the same again in another order."""

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
        """Whether every fault of the opening was played."""
        return self._played >= self._opening

    def pop(self) -> None:
        """Go on to the next card."""
        self._played += 1
        self.top = self._next()

    def _next(self) -> Card[T]:
        if not self._left:
            self._left = [fault for fault, copies in self._shares.items() for _ in range(copies)]
            self._dice.shuffle(self._left)
        return Card(self._left.pop(0), f"{self._seed}-fault-{self._played}", self._dice.uniform(*_PAUSE_S))
