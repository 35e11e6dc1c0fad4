"""Metrics of this process: counters and histograms of its deliveries, for Prometheus.

A delivery counts inside its transaction, and `counted_on_commit()` adds the counts when the transaction commits: what
is rolled back is not counted. Counts are made per delivery and event type, not per event. Each process counts for
itself: sum over the workers to get the whole.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from events import KINDS

REGISTRY = CollectorRegistry()
"""The metrics of this process; not the library's global registry, to which other libraries may add theirs."""

PutBackReason = Literal["failed", "busy", "locked", "unknown"]
Outcome = Literal["result", "put_back", "dead_lettered"]

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)
_OTHER = "unknown"
"""The type of events that this program does not know. Names that producers choose must not become labels."""

_APPLIED = Counter("tallyman_events_applied_total", "Events applied.", ["type"], registry=REGISTRY)
_PUT_BACK = Counter(
    "tallyman_events_put_back_total",
    "Events that wait again after a delivery, by reason: failed spent an attempt, the others did not.",
    ["type", "reason"],
    registry=REGISTRY,
)
_DEAD_LETTERED = Counter("tallyman_events_dead_lettered_total", "Dead letters written.", ["type"], registry=REGISTRY)
_WAITING = Histogram(
    "tallyman_event_waiting_seconds",
    "Time from an event's publication to its handler or call, of the first event of each type in a delivery.",
    ["type"],
    registry=REGISTRY,
    buckets=_LONG,
)
_HANDLING = Histogram(
    "tallyman_event_handling_seconds",
    "Time of a handler for its events in one delivery, including the publishing of the resulting events.",
    ["type"],
    registry=REGISTRY,
    buckets=_SHORT,
)
_OUTCOMES = Counter(
    "tallyman_effect_outcomes_total",
    "Recorded outcomes of effects: what became of the event.",
    ["type", "outcome"],
    registry=REGISTRY,
)
_CALLS = Histogram(
    "tallyman_effect_call_seconds",
    "Time of an effect's call to the other side, by type, whatever its outcome.",
    ["type"],
    registry=REGISTRY,
    buckets=_SHORT,
)
_RESCUED = Counter(
    "tallyman_deliveries_rescued_total", "Deliveries of crashed or hung workers that were freed.", registry=REGISTRY
)
ProcessCollector(registry=REGISTRY)

_Counted = list[tuple[Callable[[float], None], float]]
_counted: ContextVar[_Counted | None] = ContextVar("counted", default=None)


@contextmanager
def counted_on_commit() -> Iterator[None]:
    """Add what is counted in the block when the block ends without an error. Put the transaction inside the block."""
    counted: _Counted = []
    token = _counted.set(counted)
    try:
        yield
    finally:
        _counted.reset(token)
    for add, amount in counted:
        add(amount)


def expect(handled: Iterable[str], effects: Collection[str]) -> None:
    """Create the series of these event types with the value 0, so that `increase()` sees their first event."""
    for kind in (*handled, *effects):
        _APPLIED.labels(kind)
        _DEAD_LETTERED.labels(kind)
        _PUT_BACK.labels(kind, "failed")
    outcomes: tuple[Outcome, ...] = ("result", "put_back", "dead_lettered")
    for kind in effects:
        for outcome in outcomes:
            _OUTCOMES.labels(kind, outcome)


def handled(kind: str, events: int, *, waited: float, seconds: float) -> None:
    """Count events of one type that a handler has applied in `seconds`, the first `waited` seconds after its `time`."""
    _count(_APPLIED.labels(kind).inc, events)
    _count(_WAITING.labels(kind).observe, max(0.0, waited))
    _count(_HANDLING.labels(kind).observe, seconds)


def applied(kinds: Iterable[str]) -> None:
    """Count events of effects, given by their types, that were entered into the ledger."""
    for kind in kinds:
        _count(_APPLIED.labels(kind).inc)


def ended(kind: str, outcome: Outcome) -> None:
    """Count the recorded outcome of an effect."""
    _count(_OUTCOMES.labels(kind, outcome).inc)


def put_back(kinds: Iterable[str], reason: PutBackReason) -> None:
    """Count events, given by their types, that wait again."""
    for kind, events in Counts(kinds).items():
        _count(_PUT_BACK.labels(_known(kind), reason).inc, events)


def dead_lettered(kinds: Iterable[str]) -> None:
    """Count dead letters, given by the types of their events."""
    for kind in kinds:
        _count(_DEAD_LETTERED.labels(_known(kind)).inc)


def rescued(deliveries: int) -> None:
    """Count freed deliveries."""
    _count(_RESCUED.inc, deliveries)


def waited(kind: str, seconds: float) -> None:
    """Count at once a call that begins `seconds` after the `time` of its event."""
    _WAITING.labels(kind).observe(max(0.0, seconds))


def called(kind: str, seconds: float) -> None:
    """Count at once a call that took `seconds`. Calls are not undone by a rollback."""
    _CALLS.labels(kind).observe(seconds)


def _count(add: Callable[[float], None], amount: float = 1) -> None:
    counted = _counted.get()
    if counted is not None:  # otherwise a command, which serves no metrics
        counted.append((add, amount))


def _known(kind: str) -> str:
    return kind if kind in KINDS else _OTHER
