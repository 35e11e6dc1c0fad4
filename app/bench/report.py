"""Reports: what a benchmark measured, and what that says of its claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.bench.conditions import Conditions
from app.bench.rounds import Claim, Measured


@dataclass(frozen=True, slots=True)
class Report:
    """One benchmark's result. `notes` say what its figures mean."""

    bench: str
    conditions: Conditions
    measured: Sequence[Measured]
    claims: Sequence[Claim] = ()
    notes: Sequence[str] = field(default=())

    def document(self) -> dict[str, Any]:
        """All of it, for programs: `values` are the figures of the rounds in their order."""
        return {
            "bench": self.bench,
            "conditions": asdict(self.conditions),
            "measured": [{**asdict(one), "median": one.median} for one in self.measured],
            "claims": [{**asdict(one), "holds": one.holds} for one in self.claims],
            "notes": list(self.notes),
        }

    def measured_rows(self) -> list[dict[str, object]]:
        """A row for each contender, for people."""
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
        """A row for each claim, for people."""
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
    """A figure with three significant digits, and a separator in large ones."""
    if abs(value) >= 1000:  # noqa: PLR2004 - where a separator begins to help
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
