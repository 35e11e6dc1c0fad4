"""Job fixtures: jobs in progress with their items, and a result for each item, of the domain that is measured."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql

import events
from app.bench.temporary_database import TemporaryDatabase
from app.context import Connection
from app.engine.batches.statements import statement
from app.errors import InvalidInput, TallymanError
from app.fixtures import BenchItem, BenchJobs
from app.loading import fixtures
from app.tenancy import store as tenancy
from app.wiring import domains
from events import Event, Payload, new_id

_EMPTY = sql.SQL(
    "TRUNCATE {}, engine.event_log, engine.failed_jobs, engine.calls, engine.slots, engine.parked, engine.delayed,"
    " engine.rescues, engine.event_rescues, engine.rests, public.procrastinate_jobs RESTART IDENTITY CASCADE"
)
_AUTOVACUUM = sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = {})")
_QUEUE_TABLES = (("engine", "event_log"), ("public", "procrastinate_jobs"))
_COUNTS: LiteralString = """
SELECT (SELECT count(*) FROM {jobs} WHERE {succeeded} + {failed} = {total} AND status IN ('completed', 'failed')),
       (SELECT sum({succeeded} + {failed}) FROM {jobs}),
       (SELECT count(*) FROM {items} WHERE {status} IN ({success}, {error})),
       (SELECT count(*) FROM engine.event_log WHERE type = {says_completed}),
       (SELECT count(*) FROM engine.event_log WHERE type = %s),
       (SELECT count(*) FROM engine.event_log WHERE type = {says_job_completed}),
       (SELECT count(*) FROM engine.failed_jobs)
"""
_COUNTED = ("jobs done", "counted", "items done", "results", "events that follow", "jobs completed", "dead")


class NotExact(TallymanError):
    """The end state of a benchmark is wrong, so its measurements are invalid."""


def bench_jobs(domain: str | None = None) -> BenchJobs:
    """Return the jobs of a domain that benchmarks measure; default: of the first domain that declares some.

    Raises `InvalidInput` for a domain that is not installed or declares none.
    """
    declared = {one.name: found for one in domains() if (found := fixtures(one).bench) is not None}
    names = ", ".join(declared) or "none"
    if domain is not None and domain not in declared:
        raise InvalidInput(f"domain: {domain!r} declares no jobs for benchmarks (`Fixtures.bench`); these do: {names}")
    if not declared:
        raise InvalidInput("domain: no installed domain declares jobs for benchmarks (`Fixtures.bench`)")
    return declared[domain] if domain else next(iter(declared.values()))


@dataclass(frozen=True, slots=True)
class JobFixtures:
    """Jobs of one workspace with `sizes` items. `said`: a result for every item, in random order."""

    jobs: BenchJobs
    workspace_id: UUID
    sizes: tuple[int, ...]
    items: Sequence[BenchItem] = field(repr=False)
    said: Sequence[Event[Any]] = field(repr=False)
    shipped: bool

    @property
    def total(self) -> int:
        """Return the number of items."""
        return len(self.items)

    @property
    def following(self) -> dict[type[Payload], int]:
        """Return the number of events of each type that the results publish."""
        kinds = {self.jobs.batch.job_completed: len(self.sizes)}
        if self.jobs.follows is not None:
            kinds[self.jobs.follows] = self.total if self.shipped else 0
        return kinds

    def enter(self, temp_database: TemporaryDatabase, *, statistics: str) -> None:
        """Replace the temporary database's rows by these jobs, in progress.

        `statistics`: `fresh`, or `stale` (those of empty tables, with auto-analyze off).
        """
        batch = self.jobs.batch
        own = [*self.jobs.tables, (batch.schema, batch.jobs), (batch.schema, batch.items)]
        automatic = sql.SQL("false" if statistics == "stale" else "true")
        switch = (_AUTOVACUUM.format(sql.Identifier(*table), automatic) for table in (*own, *_QUEUE_TABLES))
        temp_database.arrange(_EMPTY.format(sql.SQL(", ").join(sql.Identifier(*table) for table in own)), *switch)
        temp_database.analyze()
        with temp_database.connect() as connection, connection.transaction():
            self.jobs.insert(connection, self.workspace_id, self.items)
        if statistics == "fresh":
            temp_database.analyze()

    def check(self, connection: Connection) -> None:
        """Raise `NotExact` unless every result counts once and every job completed once."""
        follows = self.jobs.follows
        parameters = [follows.type if follows else None]
        row = connection.execute(statement(self.jobs.batch, _COUNTS), parameters).fetchone()
        jobs, following = len(self.sizes), self.following.get(follows, 0) if follows else 0
        expected = (jobs, self.total, self.total, self.total, following, jobs, 0)
        if row != expected:
            pairs = zip(_COUNTED, row or (), expected, strict=False)
            raise NotExact("; ".join(f"{name} {is_}, not {be}" for name, is_, be in pairs if is_ != be))


def job_fixtures(
    temp_database: TemporaryDatabase, sizes: Sequence[int], *, shipped: bool = False, jobs: BenchJobs | None = None
) -> JobFixtures:
    """Return jobs of these sizes. Results are failures, or successes if `shipped`. `jobs`: default `bench_jobs()`.

    A failure changes item, counters and job. A success may change more, and publish an event of its own.
    """
    jobs = jobs or bench_jobs()
    with temp_database.connect() as connection:
        workspace = tenancy.create_workspace(connection, f"bench {new_id()}")
    job_ids = [new_id() for _ in sizes]
    counted = zip(job_ids, sizes, strict=True)
    items = [BenchItem(new_id(), new_id(), job_id) for job_id, size in counted for _ in range(size)]
    now = datetime.now(UTC)
    said = [
        events.new(jobs.result(item, number, shipped), now=now, subject=item.job_id, tenant=workspace.id)
        for number, item in enumerate(items)
    ]
    # Effects finish in another order than that of the requests. The order is the same in every round.
    random.Random(len(items)).shuffle(said)
    return JobFixtures(jobs, workspace.id, tuple(sizes), items, said, shipped)
