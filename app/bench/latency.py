"""`bench latency`: latency of an idle worker for single results, from the publisher's commit to the handler's."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import repeat
from statistics import quantiles
from typing import Any
from uuid import UUID

from app.bench import watch
from app.bench.conditions import conditions
from app.bench.job_fixtures import JobFixtures, NotExact, job_fixtures
from app.bench.plain import QUEUE, Plain
from app.bench.processes import working
from app.bench.report import Report
from app.bench.rounds import Claim, Measured, alternate_all
from app.bench.scale import scaled
from app.bench.serving import serving
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.context import Connection
from app.engine.queue.publish import publish
from app.engine.routing import EVENTS_QUEUE
from events import Event

EVENTS = 200
"""Events timed in each round."""
WARM_UP = 10
"""Untimed events before them, to open connections and prepare statements."""
PACE_S = 0.05
"""Seconds between two events: long enough for the worker to be idle."""
PATIENCE_S = 60.0

OURS, PLAIN = "Tallyman", "plain Procrastinate"

Say = Callable[[str], None]
Publisher = Callable[[Connection, Event[Any]], None]


class _Observer:
    """A third connection, notified of each changed job. `heard`: the time by job, on this process's clock."""

    def __init__(self, connection: Connection, wanted: int) -> None:
        self.heard: dict[UUID, float] = {}
        self._connection = connection
        self._wanted = wanted
        self._first = threading.Event()
        connection.execute(watch.PROGRESS)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait_for_first(self) -> None:
        """Wait for the first result, after the worker's start. Raises `NotExact` after 60 s."""
        if not self._first.wait(PATIENCE_S):
            raise NotExact(f"no result was counted within {PATIENCE_S:g} s")

    def join(self) -> None:
        """Wait for the notifications of all jobs. Raises `NotExact` if some are missing after 60 s."""
        self._thread.join(PATIENCE_S)
        if len(self.heard) < self._wanted:
            raise NotExact(f"{len(self.heard)} of {self._wanted} results were counted within {PATIENCE_S:g} s")

    def _listen(self) -> None:
        for notice in self._connection.notifies(timeout=2 * PATIENCE_S + self._wanted * PACE_S):
            now = time.perf_counter()
            for job_id in json.loads(notice.payload)["ids"] or ():
                self.heard.setdefault(UUID(job_id), now)
            self._first.set()
            if len(self.heard) == self._wanted:
                return


@dataclass(frozen=True, slots=True)
class _Stage:
    """Jobs of one item each, so that each applied result is one notification."""

    temp_database: TemporaryDatabase
    fixtures: JobFixtures

    def ours(self) -> tuple[float, float]:
        """Return p50 and p99 of the program, in milliseconds."""
        return self._measure(working(self.temp_database.environment()), publish, EVENTS_QUEUE)

    def plain(self) -> tuple[float, float]:
        """Return p50 and p99 of plain Procrastinate, in milliseconds."""
        plain = Plain(self.temp_database)

        def defer(connection: Connection, event: Event[Any]) -> None:
            plain.counted.configure(connection=connection).defer(event=json.loads(event.json_bytes()))

        with plain.app.open():
            return self._measure(serving(self.temp_database.environment()), defer, QUEUE)

    def _measure(self, worker: AbstractContextManager[object], publisher: Publisher, queue: str) -> tuple[float, float]:
        self.fixtures.enter(self.temp_database, statistics="fresh")
        with self.temp_database.connect() as connection, self.temp_database.connect() as listening:
            observer = _Observer(listening, self.fixtures.total)
            with worker:
                sent = dict(self._send(connection, observer, publisher))
                observer.join()
                watch.until_quiet(connection, queue, within=PATIENCE_S)
            self.fixtures.check(connection)
        timed = list(sent)[WARM_UP:]
        waited = quantiles(
            (1000 * (observer.heard[job_id] - sent[job_id]) for job_id in timed), n=100, method="inclusive"
        )
        return waited[49], waited[98]

    def _send(self, connection: Connection, observer: _Observer, publisher: Publisher) -> Iterator[tuple[UUID, float]]:
        for number, event in enumerate(self.fixtures.said):
            with connection.transaction():
                publisher(connection, event)
            yield event.data.job_id, time.perf_counter()
            if number == 0:
                observer.wait_for_first()
            time.sleep(PACE_S)


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure both contenders with `scale` times the usual number of events. Figures are milliseconds."""
    count = scaled(EVENTS, scale)
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        say(f"latency of {count} events, one every {1000 * PACE_S:g} ms")
        stage = _Stage(made, job_fixtures(made, tuple(repeat(1, count + WARM_UP))))
        figures = [("p50", "ms"), ("p99", "ms")]
        found = alternate_all(figures, {OURS: stage.ours, PLAIN: stage.plain}, rounds)
    return Report("latency", where, [one for both in found.values() for one in both], _claims(found), _NOTES)


_NOTES = (
    (
        "from the return of the publisher's COMMIT until a third connection is notified of the handler's "
        "commit (NOTIFY of the trigger on robot_jobs); publisher and listener are one process with one clock, the "
        "worker is another process"
    ),
    "the handler applies a result: ledger, item, counters, robot/job.completed of a job of one item; the same for both",
    (
        "ours: `cli.py work` with its defaults; plain Procrastinate: a worker with its defaults, "
        "also listening; both publish one event a transaction on the caller's connection"
    ),
)


def _claims(found: dict[str, list[Measured]]) -> list[Claim]:
    (median, worst), (plain_median, plain_worst) = found[OURS], found[PLAIN]
    return [
        Claim("p50 ÷ plain", median.median / plain_median.median, most=1.5),
        Claim("p99 ÷ plain", worst.median / plain_worst.median, most=2),
    ]
