"""The result of a run: violations, counts and recovery times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAMED = 5
"""Cases that a violation lists."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A violated law, and its evidence."""

    law: str
    detail: str


@dataclass(slots=True)
class Findings:
    """Violations, and cases of a known limit."""

    violations: list[Violation] = field(default_factory=list)
    known_limits: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, `at` seconds after the start of the run."""

    at: float
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """Deliveries interrupted by a kind of fault, and seconds until they continued: p50 and p99."""

    deliveries: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait of a due row in a queue, in seconds, and the amount of work of its kind that passed it meanwhile."""

    queue: str
    seconds: float = 0.0
    passed: int = 0


@dataclass(slots=True)
class Report:
    """A run. `accepted`: jobs, items and events with a known commit. `portal`: counters of the domains' simulators.

    `home`: the directory, if it was kept.
    """

    seed: int
    minutes: float
    accepted: dict[str, int] = field(default_factory=dict)
    applied: int = 0
    dead: dict[str, int] = field(default_factory=dict)
    portal: dict[str, int] = field(default_factory=dict)
    did: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    exits: dict[str, int] = field(default_factory=dict)
    audits: int = 0
    violations: list[Violation] = field(default_factory=list)
    known_limits: list[str] = field(default_factory=list)
    recovery: dict[str, Recovery] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    quiet_after: float | None = None
    home: Path | None = None

    def faults_by_kind(self) -> dict[str, int]:
        """Return the number of faults of each kind, sorted by name."""
        return dict(sorted(Counter(fault.kind for fault in self.faults).items()))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the printed report."""
        yield f"seed {self.seed}, {self.minutes:g} minutes"
        yield f"accepted   {_counts(self.accepted)}"
        yield f"applied    {self.applied} events"
        yield f"dead       {_counts(self.dead)}"
        yield f"portal     {_counts(self.portal)}"
        yield f"did        {_counts(self.did)}"
        yield f"faults     {_counts(self.faults_by_kind())}"
        yield f"exits      {_counts(self.exits)}"
        if self.quiet_after is not None:
            yield f"quiet      {self.quiet_after:.1f} s after the last fault"
        for kind, one in self.recovery.items():
            yield f"recovery   {kind}: {one.deliveries} deliveries, p50 {one.p50:.2f} s, p99 {one.p99:.2f} s"
        for queue, wait in self.waits.items():
            yield f"longest    {queue}: a due row waited {wait.seconds:.1f} s while {wait.passed} others were done"
        for limit in self.known_limits:
            yield f"known limit  {limit}"
        yield f"violations {len(self.violations)} (invariants looked up {self.audits} times on the way)"
        for broken in self.violations:
            yield f"  BROKEN  {broken.law}: {broken.detail}"


def summarise(seconds: Sequence[float]) -> Recovery:
    """Return p50 and p99 of durations in seconds, by nearest rank; zeros without durations."""
    ordered = sorted(seconds) or [0.0]
    return Recovery(len(seconds), _rank(ordered, 0.5), _rank(ordered, 0.99))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def none(law: str, wrong: Sequence[object]) -> Iterator[Violation]:
    """Yield a violation that names the first cases, if there is one."""
    if wrong:
        named = "; ".join(str(one) for one in wrong[:NAMED])
        yield Violation(law, f"{len(wrong)} times, e.g. {named}")
