"""Scale: multiply the sizes of a benchmark by one factor."""

from __future__ import annotations


def scaled(size: int, scale: float, *, least: int = 10) -> int:
    """Return `size` times `scale`, at least `least`."""
    return max(least, round(size * scale))
