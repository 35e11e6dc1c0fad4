"""`bench memory`: peak memory of a worker process that applies few and very many results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.bench import watch
from app.bench.conditions import conditions
from app.bench.plain import QUEUE
from app.bench.processes import peak_memory, working
from app.bench.report import Report
from app.bench.results_backlog import ALL_DONE, JOBS, results_backlog
from app.bench.rounds import Claim, Contender, alternate
from app.bench.scale import scaled
from app.bench.serving import serving
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.context import Connection
from app.engine.routing import EVENTS_QUEUE, MOST_IN_A_ROW

FEW, MANY = 10_000, 1_000_000
PLAIN_RESULTS = 2_000
"""Results for plain Procrastinate, which needs most of an hour for a million."""
_START_S = 60.0
_SLOWEST = 50.0
"""Results a second below which a run fails."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A database that is filled for each run. Figures are MiB."""

    temp_database: TemporaryDatabase

    def ours(self, total: int) -> float:
        """Return the peak memory of a `cli.py work` that applies `total` results in batches."""
        results = results_backlog(self.temp_database, total)
        results.fill_batches(MOST_IN_A_ROW)
        with self.temp_database.connect() as connection:
            with working(self.temp_database.environment()) as (pid,):
                _until_done(connection, total, EVENTS_QUEUE)
                peak = peak_memory(pid)
            results.check(connection)
        return peak

    def plain(self, total: int) -> float:
        """Return the peak memory of a worker of plain Procrastinate that applies `total` results."""
        results = results_backlog(self.temp_database, total)
        results.fill_plain()
        with self.temp_database.connect() as connection:
            with serving(self.temp_database.environment()) as pid:
                _until_done(connection, total, QUEUE)
                peak = peak_memory(pid)
            results.check(connection)
        return peak


def _until_done(connection: Connection, total: int, queue: str) -> None:
    within = _START_S + total / _SLOWEST
    watch.until(connection, ALL_DONE, {}, within=within, what="every result counted")
    watch.until_quiet(connection, queue, within=within)


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure both contenders with `scale` times the usual number of results. Figures are MiB."""
    few, many, plain = (scaled(count, scale, least=JOBS) for count in (FEW, MANY, PLAIN_RESULTS))
    names = [f"Tallyman, {few:,} results", f"Tallyman, {many:,} results", f"plain Procrastinate, {plain:,} results"]
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        stage = _Stage(made)
        say(f"memory of a worker that counts {few:,} results, and {many:,}")
        runs: list[Contender] = [lambda: stage.ours(few), lambda: stage.ours(many), lambda: stage.plain(plain)]
        found = alternate("peak resident memory", "MiB", dict(zip(names, runs, strict=True)), rounds)
    claims = [Claim(f"{many:,} ÷ {few:,} results", found[names[1]].median / found[names[0]].median, most=1.3)]
    return Report("memory", where, list(found.values()), claims, _NOTES)


_NOTES = (
    (
        "VmHWM of a `cli.py work` process for events and effects, with all threads and connections, read after the "
        "last result; shared pages count in full"
    ),
    (
        f"results of {JOBS} jobs, waiting in batches of {MOST_IN_A_ROW}; plain Procrastinate has one a "
        "task, and fewer, because it needs most of an hour for a million; its process has this program's modules "
        "loaded, so its figure is no claim"
    ),
)
