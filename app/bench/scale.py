"""Scale: the sizes of a benchmark, all of them multiplied by one number."""

from __future__ import annotations


def scaled(size: int, scale: float, *, least: int = 10) -> int:
    """`size` times `scale`, and not less than `least`, below which there is nothing to measure."""
    return max(least, round(size * scale))
