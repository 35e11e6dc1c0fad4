"""`bench backlog`: delivery rate of events while up to a million others wait, were applied or were put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from app.bench import sample
from app.bench.conditions import conditions
from app.bench.plain import CONCURRENCY
from app.bench.queue_backlog import EFFECTS_A_ROW, QueueBacklog, queue_backlog
from app.bench.report import Report
from app.bench.rounds import Claim, Contender, alternate
from app.bench.sample import PlainSample
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.engine.routing import MOST_IN_A_ROW

SAMPLE = 20_000
"""Events delivered from each backlog."""
PLAIN_SAMPLE = 500
"""The same for plain Procrastinate, whose rate is stable after fewer."""

SINGLES, BATCHES, PLAIN = "one by one", "batches", "plain Procrastinate"

Say = Callable[[str], None]
_Key = tuple[str, str]
"""A case's name and a contender."""


@dataclass(frozen=True, slots=True)
class _Case:
    """Rows in addition to the sample: events behind it, effects, applied events and events that were put back."""

    name: str
    behind: int = 10_000
    effects: int = 0
    applied: int = 0
    put_back: int = 0

    @property
    def besides(self) -> tuple[int, ...]:
        """Return the counts of effects, applied events and put-back events; empty if all are 0."""
        found = (self.effects, self.applied, self.put_back)
        return found if any(found) else ()

    def at(self, scale: float) -> _Case:
        """Return the case with its sizes multiplied by `scale`."""
        sizes = (self.behind, self.effects, self.applied, self.put_back)
        return _Case(self.name, *(scaled(size, scale) if size else 0 for size in sizes))


BASE = _Case("10 thousand waiting")
CASES = (
    BASE,
    _Case("100 thousand waiting", 100_000),
    _Case("1 million waiting", 1_000_000),
    # No event waits behind the sample, so the last deliveries search for siblings among the effects.
    _Case("1 million effects waiting", 0, effects=1_000_000),
    _Case("1 million applied", applied=1_000_000),
    # Delayed, put-back and parked events all wait in `engine.delayed`.
    _Case("10 thousand put back", put_back=10_000),
    _Case("100 thousand put back", put_back=100_000),
    _Case("1 million put back", put_back=1_000_000),
)
_PLAIN_CASES = CASES[:3]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A database that is filled for each case. Rates are events a second."""

    temp_database: TemporaryDatabase
    queue_backlog: QueueBacklog
    scale: float
    laid: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def wanted(self) -> int:
        """Return the number of events to deliver."""
        return scaled(SAMPLE, self.scale, least=sample.LEAST)

    def contenders(self) -> dict[_Key, Contender]:
        """Return the contenders: the program in every case and both shapes, plain Procrastinate where comparable."""
        ours: dict[_Key, Contender] = {
            (case.name, shape): partial(self._ours, case.at(self.scale), shape)
            for case in CASES
            for shape in (SINGLES, BATCHES)
        }
        return ours | {(case.name, PLAIN): partial(self._plain, case.at(self.scale)) for case in _PLAIN_CASES}

    def _plain(self, case: _Case) -> float:
        wanted = scaled(PLAIN_SAMPLE, self.scale)
        self.laid.clear()
        self.queue_backlog.empty()
        self.queue_backlog.plain(wanted + case.behind)
        self.queue_backlog.tidy()
        return PlainSample(self.temp_database).sample(wanted)

    def _ours(self, case: _Case, shape: str) -> float:
        self._lay(case)
        if shape == SINGLES:
            self.queue_backlog.singles(self.wanted + case.behind)
        else:
            self.queue_backlog.batches(self.wanted + case.behind, MOST_IN_A_ROW)
        self.queue_backlog.tidy()
        return sample.drain(self.temp_database, self.wanted)

    def _lay(self, case: _Case) -> None:
        """Fill the database with the case's rows, without due events."""
        if case.besides and self.laid == [case.besides]:
            # The previous contender left these rows unchanged; there may be a million.
            self.queue_backlog.empty_events()
            return
        self.queue_backlog.empty()
        self.queue_backlog.effects(case.effects)
        self.queue_backlog.applied(case.applied)
        # Before the sample is published, so that a search for its rows has to skip these.
        self.queue_backlog.put_back(case.put_back)
        self.laid[:] = [case.besides]


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure every case with `scale` times the usual sizes. Figures are events a second."""
    with temporary_database() as made, made.connect() as connection:
        where = conditions(connection)
        stage = _Stage(made, queue_backlog(made, connection), scale)
        say(f"backlog: samples of {stage.wanted:,} events, {rounds} rounds of {len(stage.contenders())} backlogs")
        found = alternate("", "events/s", {_label(key): run for key, run in stage.contenders().items()}, rounds)
        by_key = {key: replace(found[_label(key)], what=key[0], contender=key[1]) for key in stage.contenders()}
    rate = {key: one.median for key, one in by_key.items()}
    return Report("backlog", where, list(by_key.values()), list(_claims(rate)), _notes(stage.wanted, scale))


def _label(key: _Key) -> str:
    return ", ".join(key)


def _claims(rate: dict[_Key, float]) -> Iterator[Claim]:
    for (case, contender), one in rate.items():
        if contender != PLAIN and case != BASE.name:
            ratio = one / rate[BASE.name, contender]
            yield Claim(f"{contender}: {case} ÷ {BASE.name}", ratio, least=0.8)
    for (case, contender), one in rate.items():
        if contender == PLAIN:
            yield Claim(f"{case}: {SINGLES} ÷ plain", rate[case, SINGLES] / one)
            yield Claim(f"{case}: {BATCHES} ÷ plain", rate[case, BATCHES] / one)


def _notes(wanted: int, scale: float) -> list[str]:
    sizes = [] if scale == 1 else [f"the backlogs are {scale:g} times as large as their names say"]
    return [
        *sizes,
        (
            f"waiting: this many events wait behind the {wanted:,} that are delivered; one million "
            f"effects, in rows of {EFFECTS_A_ROW}, wait while the queue of events is drained completely; "
            "put-back events were published before the sample"
        ),
        (
            "the handler does nothing: measured are fetch, claim, ledger insert and acknowledgement, "
            "the steps that a backlog could slow down"
        ),
        (
            "timed from the first batch that reaches its handler to the last, without a worker's start and stop; "
            "every run checks the number of events that left the queue and that entered the ledger"
        ),
        (
            "filled by SQL, then vacuumed and analysed; the embedded server has also written all pages to disk; "
            "another server may still be writing, which slows large backlogs; `bench fan-in` has stale statistics"
        ),
        (
            f"plain Procrastinate: its own tasks in a queue of the same size, concurrency {CONCURRENCY}, "
            f"{PLAIN_SAMPLE:,} tasks, each inserted into the same ledger"
        ),
    ]
