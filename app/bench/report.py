"""Reports: a benchmark's measurements and claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.bench.conditions import Conditions
from app.bench.rounds import Claim, Measured


@dataclass(frozen=True, slots=True)
class Report:
    """One benchmark's result. `notes` explain its figures."""

    bench: str
    conditions: Conditions
    measured: Sequence[Measured]
    claims: Sequence[Claim] = ()
    notes: Sequence[str] = field(default=())

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON document. `values`: the figures of the rounds in order."""
        return {
            "bench": self.bench,
            "conditions": asdict(self.conditions),
            "measured": [{**asdict(one), "median": one.median} for one in self.measured],
            "claims": [{**asdict(one), "holds": one.holds} for one in self.claims],
            "notes": list(self.notes),
        }

    def measured_rows(self) -> list[dict[str, object]]:
        """Return a printable row for each contender."""
        return [
            {
                "what": one.what,
                "contender": one.contender,
                "median": figure(one.median),
                "min": figure(min(one.values)),
                "max": figure(max(one.values)),
                "unit": one.unit,
                "rounds": len(one.values),
            }
            for one in self.measured
        ]

    def claim_rows(self) -> list[dict[str, object]]:
        """Return a printable row for each claim."""
        return [
            {
                "claim": one.what,
                "ratio": figure(one.ratio),
                "reach": one.bound,
                "": "" if not one.bound else "reached" if one.holds else "NOT REACHED",
            }
            for one in self.claims
        ]


def figure(value: float) -> str:
    """Format a figure with three significant digits, and a thousands separator from 1,000."""
    if abs(value) >= 1000:  # noqa: PLR2004 - a thousands separator helps
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
