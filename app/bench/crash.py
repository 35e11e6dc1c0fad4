"""`bench crash`: seconds from SIGKILL of a worker until another worker has done all its jobs."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import uuid4

from app import children
from app.bench import sleeper, watch
from app.bench.conditions import conditions
from app.bench.job_fixtures import NotExact
from app.bench.report import Report
from app.bench.rounds import Claim, Measured, alternate
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.context import Connection, HandlerContext
from app.engine.domain import use
from app.engine.queue.publish import publish_all
from app.engine.routing import MOST_IN_A_ROW
from events import new

JOBS = 200
PATIENCE_S = 60.0

SINGLES, BATCH, PLAIN = "Tallyman, single rows", "Tallyman, one batch", "plain Procrastinate"

_AT_WORK: LiteralString = "SELECT count(*) = %(count)s FROM public.procrastinate_workers"
_IN_THE_MIDDLE: LiteralString = """
SELECT (SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'doing') >= %(in_hand)s
   AND ((SELECT count(*) FROM engine.event_log) >= %(jobs)s
        OR EXISTS (SELECT FROM public.procrastinate_events e
                    WHERE e.type = 'started' AND e.at < clock_timestamp() - %(seconds)s * interval '1 second'))
"""
_DONE: LiteralString = "SELECT count(*) = %(count)s FROM engine.event_log"
_HOLDER: LiteralString = """
SELECT w.pid FROM public.procrastinate_jobs j JOIN engine.workers w ON w.worker_id = j.worker_id
 WHERE j.status = 'doing' LIMIT 1
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Two workers in a temporary database. Figures are seconds from SIGKILL until every job is done."""

    temp_database: TemporaryDatabase
    jobs: int

    def ours(self, batch_size: int) -> float:
        """Publish with `batch_size` events a row, and kill the worker that delivers them. Returns seconds."""
        with self._working("tallyman") as workers, self.temp_database.connect() as connection:
            self._until_at_work(connection)
            now = HandlerContext.begin(connection).now
            asked = [new(sleeper.Asked(number=n), now=now, subject=None, tenant=None) for n in range(self.jobs)]
            with use(sleeper.WIRING), connection.transaction():
                publish_all(connection, asked, batch_size=batch_size)
            return self._kill(connection, workers, in_hand=1, within=PATIENCE_S)

    def plain(self) -> float:
        """Defer a task for each job. Returns seconds, or the time limit if the jobs are not done by then."""
        with self._working("plain") as workers, self.temp_database.connect() as connection:
            self._until_at_work(connection)
            given_up = 3 + self.jobs * 0.05
            app = sleeper.PlainSleeper(self.temp_database.url)
            asyncio.run(self._defer(app))
            try:
                # Procrastinate does not record a worker's process, so wait until both workers are fully occupied.
                at_once = 2 * sleeper.CONCURRENCY
                return self._kill(connection, workers, in_hand=at_once, at_once=at_once, within=given_up)
            except NotExact:
                return given_up

    async def _defer(self, plain: sleeper.PlainSleeper) -> None:
        async with plain.app.open_async():
            tasks: list[dict[str, Any]] = [{"event_id": str(uuid4())} for _ in range(self.jobs)]
            await plain.asked.batch_defer_async(*tasks)

    def _until_at_work(self, connection: Connection) -> None:
        watch.until(connection, _AT_WORK, {"count": 2}, within=PATIENCE_S, what="2 workers at work")

    def _kill(
        self,
        connection: Connection,
        workers: list[subprocess.Popen[str]],
        *,
        in_hand: int,
        within: float,
        at_once: int = 1,
    ) -> float:
        """Kill a busy worker after a quarter of the jobs or of their time. Returns seconds until all are done.

        `at_once`: jobs that run side by side, which divides their time. A batch is done one job after the other.
        """
        middle = {"in_hand": in_hand, "jobs": self.jobs // 4, "seconds": self.jobs * 0.02 / at_once / 4}
        watch.until(connection, _IN_THE_MIDDLE, middle, within=PATIENCE_S, what="jobs in hand")
        row = connection.execute(_HOLDER).fetchone()
        killed = next((worker for worker in workers if row and worker.pid == row[0]), workers[0])
        killed.kill()
        began = time.perf_counter()
        watch.until(connection, _DONE, {"count": self.jobs}, within=within, what=f"{self.jobs} jobs done")
        return time.perf_counter() - began

    @contextmanager
    def _working(self, kind: str) -> Iterator[list[subprocess.Popen[str]]]:
        """Run two workers on an empty queue."""
        with self.temp_database.connect() as connection:
            connection.execute("DELETE FROM engine.event_log; DELETE FROM engine.rescues; DELETE FROM engine.workers")
            connection.execute("DELETE FROM public.procrastinate_jobs; DELETE FROM public.procrastinate_workers")
        environment = self.temp_database.environment()
        workers = [children.start(sleeper.command(kind), environment=environment) for _ in range(2)]
        try:
            yield workers
        finally:
            for worker in workers:
                children.stop(worker)


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure all contenders with `scale` times the usual number of jobs. Figures are seconds."""
    jobs = scaled(JOBS, scale)
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        stage = _Stage(made, jobs)
        say(f"crash: {jobs:,} jobs of 20 ms, SIGKILL in the middle, {rounds} rounds")
        contenders = {SINGLES: lambda: stage.ours(1), BATCH: lambda: stage.ours(MOST_IN_A_ROW), PLAIN: stage.plain}
        found = alternate(f"{jobs} jobs of 20 ms", "s", contenders, rounds)
    return Report("crash", where, list(found.values()), list(_claims(found)), _NOTES)


def _claims(found: dict[str, Measured]) -> Iterator[Claim]:
    for name in (SINGLES, BATCH):
        yield Claim(f"{name}: seconds after SIGKILL", found[name].median, most=3.0)


_NOTES = (
    (
        "seconds from SIGKILL of the worker that delivers the jobs until all are in the ledger; another "
        "worker of the same kind is already running; each has two concurrent deliveries and default settings"
    ),
    "plain Procrastinate leaves the interrupted jobs `doing` indefinitely: its figure is the time limit",
)
