"""`bench held`: rate of applied results while an open transaction blocks vacuum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import psycopg
from psycopg import sql

from app import database
from app.bench import worker
from app.bench.conditions import conditions
from app.bench.job_fixtures import JobFixtures, NotExact, job_fixtures
from app.bench.plain import CONCURRENCY, Plain
from app.bench.report import Report
from app.bench.rounds import Claim, Contender, alternate
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.engine.queue.publish import publish_all

RESULTS = 50_000
"""Results of one job."""
PLAIN_MOST = 2_000
"""Results after which plain Procrastinate is stopped."""

FREE, HELD = "free", "held"
BATCHES, SINGLES, PLAIN = "batches", "one by one", "plain Procrastinate"

_IS_HELD = "SELECT backend_xmin IS NOT NULL FROM pg_stat_activity WHERE pid = %s"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A job in its temporary database. Rates are results a second."""

    temp_database: TemporaryDatabase
    fixtures: JobFixtures

    def contenders(self) -> dict[str, Contender]:
        """Return all contenders, each without and with an open transaction."""
        return {
            f"{name}, {state}": self._contender(drain, state)
            for name, drain in (
                (BATCHES, lambda hold: self._ours(None, hold)),
                (SINGLES, lambda hold: self._ours(1, hold)),
                (PLAIN, self._plain),
            )
            for state in (FREE, HELD)
        }

    def _contender(self, drain: Callable[[AbstractContextManager[None]], float], state: str) -> Contender:
        return lambda: drain(_holding(self.temp_database) if state == HELD else nullcontext())

    def _ours(self, batch_size: int | None, hold: AbstractContextManager[None]) -> float:
        self.fixtures.enter(self.temp_database, statistics="fresh")
        with self.temp_database.connect() as connection:
            with connection.transaction():
                publish_all(connection, self.fixtures.said, batch_size=batch_size)
            self.temp_database.arrange(sql.SQL("VACUUM ANALYZE"))
            with hold:
                seconds = worker.count(self.fixtures)
            self.fixtures.check(connection)
        return self.fixtures.total / seconds

    def _plain(self, hold: AbstractContextManager[None]) -> float:
        self.fixtures.enter(self.temp_database, statistics="fresh")
        plain = Plain(self.temp_database)
        plain.publish(self.fixtures)
        self.temp_database.arrange(sql.SQL("VACUUM ANALYZE"))
        with hold:
            return plain.drain(min(PLAIN_MOST, self.fixtures.total))


@contextmanager
def _holding(temp_database: TemporaryDatabase) -> Iterator[None]:
    """Hold a transaction with a snapshot open during the block. Raises `NotExact` if it ended earlier."""
    # Without this setting, the program's limit on idle transactions would end it.
    address = database.conninfo(temp_database.url, idle_in_transaction_session_timeout="0")
    with psycopg.connect(address) as connection, temp_database.connect() as watching:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM logistics.robot_jobs")
        yield
        row = watching.execute(_IS_HELD, [connection.info.backend_pid]).fetchone()
        if not row or not row[0]:
            raise NotExact("the open transaction holds nothing back")
        connection.execute("SELECT 1")
        connection.rollback()


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure all contenders free and held with `scale` times the usual number of results, in results a second."""
    count = scaled(RESULTS, scale)
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        say(f"held: {count:,} results counted beside an open transaction")
        contenders = _Stage(made, job_fixtures(made, (count,))).contenders()
        found = alternate(f"1 x {count:,}", "results/s", contenders, rounds)
    rate = {name: one.median for name, one in found.items()}
    claims = [
        Claim(f"{name}: held ÷ free", rate[f"{name}, {HELD}"] / rate[f"{name}, {FREE}"], least=least)
        for name, least in ((BATCHES, 0.5), (SINGLES, 0.5), (PLAIN, None))
    ]
    return Report("held", where, list(found.values()), claims, _NOTES)


_NOTES = (
    (
        "held: a REPEATABLE READ transaction in the same database, with a snapshot from after the publication of the "
        "results until the last is applied: vacuum can remove no row version that is dead meanwhile, neither "
        "those of the queue nor the old versions of the job's row"
    ),
    "the number of dead row versions grows with the run: the figures apply to a run of this size",
    (
        f"plain Procrastinate: concurrency {CONCURRENCY}, stopped after {PLAIN_MOST:,} results, so its run has fewer "
        "dead row versions than ours"
    ),
)
