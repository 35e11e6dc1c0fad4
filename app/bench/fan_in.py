"""`bench fan-in`: rate of applied results, including ledger, counters and the completion of jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.bench import limit, worker
from app.bench.conditions import conditions
from app.bench.job_fixtures import JobFixtures, bench_jobs, job_fixtures
from app.bench.plain import CONCURRENCY, Plain
from app.bench.report import Report
from app.bench.rounds import Claim, Contender, Measured, alternate
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.engine.queue.publish import publish_all

SHAPES = {"1 x 5,000": (5_000,), "1 x 50,000": (50_000,), "20 x 250": (250,) * 20}
PLAIN_MOST = 2_000
"""Results after which plain Procrastinate is stopped: its rate is stable by then, and all results take minutes."""

BATCHES, SINGLES, STALE, STALE_SINGLES = "batches", "one by one", "batches, stale", "one by one, stale"
PLAIN, LIMIT = "plain Procrastinate", f"limit, chunks of {limit.CHUNK}"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Job fixtures in a temporary database, and the contenders."""

    temp_database: TemporaryDatabase
    fixtures: JobFixtures

    def ours(self, *, batch_size: int | None, statistics: str) -> float:
        """Return results a second of the program's worker."""
        self.fixtures.enter(self.temp_database, statistics=statistics)
        with self.temp_database.connect() as connection, connection.transaction():
            publish_all(connection, self.fixtures.said, batch_size=batch_size)
        if statistics == "fresh":
            self.temp_database.analyze()
        seconds = worker.count(self.fixtures)
        return self._exact(seconds)

    def plain(self) -> float:
        """Return results a second of plain Procrastinate."""
        self.fixtures.enter(self.temp_database, statistics="fresh")
        plain = Plain(self.temp_database)
        plain.publish(self.fixtures)
        self.temp_database.analyze()
        return plain.drain(min(PLAIN_MOST, self.fixtures.total))

    def limit(self) -> float:
        """Return results a second of the same statements without a queue."""
        self.fixtures.enter(self.temp_database, statistics="fresh")
        return self._exact(limit.drain(self.temp_database, self.fixtures))

    def _exact(self, seconds: float) -> float:
        with self.temp_database.connect() as connection:
            self.fixtures.check(connection)
        return self.fixtures.total / seconds

    def contenders(self) -> dict[str, Contender]:
        """Return all contenders by name."""
        ours: dict[str, Contender] = {
            BATCHES: lambda: self.ours(batch_size=None, statistics="fresh"),
            STALE: lambda: self.ours(batch_size=None, statistics="stale"),
            SINGLES: lambda: self.ours(batch_size=1, statistics="fresh"),
            STALE_SINGLES: lambda: self.ours(batch_size=1, statistics="stale"),
        }
        return ours | ({LIMIT: self.limit, PLAIN: self.plain} if self.fixtures.jobs.has_baselines else {})


def run(
    *,
    rounds: int,
    say: Say,
    shipped: bool = False,
    domain: str | None = None,
    shapes: Sequence[str] = tuple(SHAPES),
    scale: float = 1,
) -> Report:
    """Measure every shape with `scale` times its results. `shipped`: results are successes, for example ship orders.

    `domain`: whose jobs are measured; default: the first that declares some. Without baselines of its own, only this
    program is measured. Raises `InvalidInput` for a domain without jobs.
    """
    jobs = bench_jobs(domain)
    measured: list[Measured] = []
    claims: list[Claim] = []
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        for shape in shapes:
            say(f"fan-in {shape}")
            sizes = [scaled(size, scale) for size in SHAPES[shape]]
            stage = _Stage(made, job_fixtures(made, sizes, shipped=shipped, jobs=jobs))
            found = alternate(shape, "results/s", stage.contenders(), rounds)
            measured += found.values()
            claims += _claims(shape, {name: one.median for name, one in found.items()})
    notes = [
        f"plain Procrastinate: concurrency {CONCURRENCY}, stopped after {PLAIN_MOST:,} results",
        f"ours: concurrency {worker.CONCURRENCY}, listening, until follow-up events are handled; checked every time",
        "stale: the planner's statistics are those of empty tables, and autovacuum and auto-analyze are off",
    ]
    return Report("fan-in", where, measured, claims, notes)


def _claims(shape: str, rate: dict[str, float]) -> list[Claim]:
    baselines = _beside_baselines(shape, rate) if PLAIN in rate else []
    return [
        *baselines,
        Claim(f"{shape}: batches, stale ÷ fresh", rate[STALE] / rate[BATCHES], least=0.8),
        Claim(f"{shape}: one by one, stale ÷ fresh", rate[STALE_SINGLES] / rate[SINGLES], least=0.8),
    ]


def _beside_baselines(shape: str, rate: dict[str, float]) -> list[Claim]:
    return [
        Claim(f"{shape}: batches ÷ plain", rate[BATCHES] / rate[PLAIN], least=40),
        Claim(f"{shape}: batches ÷ limit", rate[BATCHES] / rate[LIMIT], least=0.5),
        Claim(f"{shape}: one by one ÷ plain", rate[SINGLES] / rate[PLAIN], least=12),
        Claim(f"{shape}: one by one ÷ limit", rate[SINGLES] / rate[LIMIT], least=0.15),
    ]
