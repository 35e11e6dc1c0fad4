"""Rounds: contenders alternate, so that other load on the machine affects all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

LEAST_ROUNDS = 3

Contender = Callable[[], float]
"""Runs once and returns its figure, a rate or a time, without its setup."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender's figures, one a round, in order."""

    what: str
    contender: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median of the rounds."""
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Claim:
    """A ratio of two medians, with its bound: at `least`, at `most`, or None without a bound."""

    what: str
    ratio: float
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Return whether the ratio is within its bound."""
        return (self.least is None or self.ratio >= self.least) and (self.most is None or self.ratio <= self.most)

    @property
    def bound(self) -> str:
        """Return the bound as text."""
        if self.least is not None:
            return f"≥ {self.least:g}"
        return f"≤ {self.most:g}" if self.most is not None else ""


def alternate(what: str, unit: str, contenders: Mapping[str, Contender], rounds: int) -> dict[str, Measured]:
    """Run every contender once a round, in reverse order every other round. Returns the figures by name."""
    alone = {name: _alone(contender) for name, contender in contenders.items()}
    return {name: one for name, (one,) in alternate_all([(what, unit)], alone, rounds).items()}


def alternate_all(
    figures: Sequence[tuple[str, str]], contenders: Mapping[str, Callable[[], Sequence[float]]], rounds: int
) -> dict[str, list[Measured]]:
    """Like `alternate`, for contenders with several figures a run. `figures`: their names and units."""
    found: dict[str, list[Sequence[float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        turn = list(contenders.items())
        for name, contender in turn if number % 2 == 0 else reversed(turn):
            found[name].append(contender())
    return {
        name: [
            Measured(what, name, unit, values)
            for (what, unit), values in zip(figures, zip(*runs, strict=True), strict=True)
        ]
        for name, runs in found.items()
    }


def _alone(contender: Contender) -> Callable[[], Sequence[float]]:
    return lambda: (contender(),)
