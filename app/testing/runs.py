"""Runs: deliver the same events from the same tables, with or without a fault."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row, scalar_row

from app import database as doors
from app.context import Connection
from app.engine.domain import Invariant, Policy, Wiring, use
from app.engine.inspect.invariants import all_hold, audit
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import publish
from app.settings import using
from app.testing import wires, worker
from app.testing.database import Database
from app.testing.faults import Died, Point, Strike, Watch
from app.testing.published import Found, everything
from app.testing.queue_client import QueueClient
from app.testing.state import State, misplaced, snapshot
from app.testing.tables import Kept, keep
from app.testing.worker import Fetched, Process
from events import Event

_MOST_DELIVERIES = 500
_LOCK_PATIENCE_S = 0.01
"""Time that a delivery waits for a lock of another session, while a scenario holds some."""

# A cut connection holds its locks until the server detects the loss. Each connection of a watched process also holds
# this lock shared, so a session that gets it exclusively knows that all these connections have ended.
_ATTEND = "SELECT pg_advisory_lock_shared(hashtextextended('app.testing', 0))"
_ALONE = "SELECT pg_advisory_lock(hashtextextended('app.testing', 0))"
_TOGETHER = "SELECT pg_advisory_unlock(hashtextextended('app.testing', 0))"

_WAITING = """
SELECT row_id, args::text AS args FROM engine.waiting() WHERE status = 'todo' ORDER BY place DESC, row_id
"""
_SET_ASIDE = """
SELECT count(*) FROM engine.queue_rows WHERE split_part(error, ':', 1) IN ('RowLocked', 'LockNotAvailable')
"""
_DEATHS = """
SELECT format('%s %s: %s: %s', job_type, event_id, error_class, error_message) FROM engine.failed_jobs
 WHERE resolved_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The parameters of `crash_everywhere`. `is_new`: the events must be published first.

    `repeated`: events that were delivered before, so that they are in several places until the end.
    """

    wiring: Wiring
    events: Sequence[Event[Any]]
    is_new: bool
    arrange: Callable[[], object]
    observe: Callable[[Connection], object]
    ignore: frozenset[str]
    batch_size: int | None
    invariants: Sequence[Invariant]
    makes_room: bool = False
    hold: Callable[[Connection], object] | None = None
    repeated: frozenset[UUID] = frozenset()

    @property
    def event_ids(self) -> set[UUID]:
        """Return the ids of the events."""
        return {event.id for event in self.events}


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run: its points, the index of the fault's point, final state, dead letters and violations.

    `set_aside`: rows of events that waited for locks when no other row was due.
    """

    points: Sequence[Point]
    struck: int | None
    state: State
    deaths: Sequence[str]
    complaints: list[str] = field(default_factory=list)
    set_aside: int = 0


@contextmanager
def laboratory(database: Database, policy: Policy) -> Iterator[Laboratory]:
    """Yield a laboratory for runs. Restores the database at the end."""
    # Only clients crash here, never the server, so commits need not wait for the disk.
    hasty = "-c synchronous_commit=off"
    address = make_conninfo(database.url, options=hasty)
    with (
        _quiet(),
        doors.connect(address, autocommit=True) as connection,
        doors.pool(address=address) as pool,
        closing(Process(pool, policy)) as healthy,
        keep(make_conninfo(database.superuser_url, options=hasty)) as kept,
    ):
        try:
            yield Laboratory(address, connection, healthy, QueueClient(connection), kept)
        finally:
            kept.restore()


@contextmanager
def _quiet() -> Iterator[None]:
    # Hundreds of broken connections and rescues would each log a line.
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(former)


def waiting_events(connection: Connection) -> list[Event[Any]]:
    """Return the readable events that wait in the queue or are delayed."""
    rows = connection.cursor(row_factory=class_row(Row)).execute(_WAITING).fetchall()
    return [queued.event for queued in open_rows(rows) if isinstance(queued.event, Event)]


@dataclass(frozen=True, slots=True)
class Laboratory:
    """A database with saved tables, a connection to it, and the worker process and queue client of all runs."""

    address: str
    connection: Connection
    healthy: Process
    queue_client: QueueClient
    kept: Kept

    def run(self, scenario: Scenario, strike: Strike | None = None, *, twice: bool = False) -> Run:
        """Deliver a scenario's events to their end. `twice`: publish each event twice, and once more at the end."""
        self.kept.restore()
        scenario.arrange()
        for _ in range(scenario.is_new + twice):
            self._publish(scenario)
        watch = Watch(strike)
        set_aside = self._live(scenario, watch)
        repeated = scenario.event_ids if twice else scenario.repeated
        complaints = misplaced(everything(self.connection), scenario.event_ids, repeated=repeated)
        self._end(scenario)
        if twice:
            self._publish(scenario)
            self._end(scenario)
        found = everything(self.connection)
        complaints += [line for line in self._violations(scenario, found) if line not in complaints]
        return Run(watch.points, watch.struck, self._state(scenario, found), self._deaths(), complaints, set_aside)

    def _publish(self, scenario: Scenario) -> None:
        with use(scenario.wiring), self.connection.transaction():
            publish(self.connection, *scenario.events, batch_size=scenario.batch_size)

    def _live(self, scenario: Scenario, watch: Watch) -> int:
        """Deliver the events with a watched worker, until the fault has occurred or no row waits.

        If the scenario holds locks: while they are held, until the fault has occurred or no row is due. Returns how
        many rows wait for the locks.
        """
        watched = replace(
            scenario.wiring, effects={p: wires.watched(e, watch) for p, e in scenario.wiring.effects.items()}
        )
        worker_id, set_aside = worker.register(self.connection), 0
        with (
            wires.pool(watch, self.address, _ATTEND) as pool,
            closing(Process(pool, self.healthy.engine.policy)) as mortal,
            suppress(Died),
        ):
            if scenario.hold is not None:
                with self._held(scenario.hold):
                    self._work(self._due(worker_id), scenario, watched, mortal, watch)
                    set_aside = self.connection.cursor(row_factory=scalar_row).execute(_SET_ASIDE).fetchone() or 0
            else:
                self._work(self._rows(worker_id), scenario, watched, mortal, watch)
        self.connection.execute(_ALONE)
        self.connection.execute(_TOGETHER)
        if watch.is_dead:
            worker.rescue_from(worker_id, self.connection)
        return set_aside

    def _work(
        self, rows: Iterator[Fetched], scenario: Scenario, watched: Wiring, mortal: Process, watch: Watch
    ) -> None:
        for fetched in rows:
            if fetched.holds(scenario.event_ids):
                self._deliver(fetched, mortal, watched, makes_room=scenario.makes_room)
            else:
                self._deliver(fetched, self.healthy, scenario.wiring)
            if watch.struck is not None:
                break

    @contextmanager
    def _held(self, hold: Callable[[Connection], object]) -> Iterator[None]:
        """Hold locks in another session during the block."""
        with using(lock_patience=_LOCK_PATIENCE_S), doors.connect(self.address) as other:
            hold(other)
            yield

    def _end(self, scenario: Scenario) -> None:
        """Deliver with a healthy worker until no row waits."""
        for fetched in self._rows(worker.register(self.connection)):
            self._deliver(fetched, self.healthy, scenario.wiring)

    def _deliver(self, fetched: Fetched, process: Process, wiring: Wiring, *, makes_room: bool = False) -> None:
        succeeded = process.deliver(fetched, wiring, makes_room=makes_room)
        self.queue_client.end(fetched, succeeded=succeeded)

    def _due(self, worker_id: int) -> Iterator[Fetched]:
        """Yield fetched rows until none is due."""
        while (fetched := worker.fetch(self.connection, worker_id)) is not None:
            yield fetched

    def _rows(self, worker_id: int) -> Iterator[Fetched]:
        """Yield fetched rows until none waits. Delayed rows are made due when no other row is due."""
        for _ in range(_MOST_DELIVERIES):
            fetched = worker.fetch(self.connection, worker_id)
            if fetched is None and worker.let_time_pass(self.connection):
                fetched = worker.fetch(self.connection, worker_id)
            if fetched is None:
                return
            yield fetched
        raise AssertionError(f"rows still wait after {_MOST_DELIVERIES} deliveries")

    def _state(self, scenario: Scenario, found: Sequence[Found]) -> State:
        seen = scenario.observe(self.connection)
        return snapshot(self.connection, found, self.kept.show(scenario.ignore), seen)

    def _deaths(self) -> list[str]:
        return self.connection.cursor(row_factory=scalar_row).execute(_DEATHS).fetchall()

    def _violations(self, scenario: Scenario, found: Sequence[Found]) -> list[str]:
        lines = misplaced(found, scenario.event_ids)
        if all_hold(self.connection, scenario.invariants):
            return lines
        broken = [verdict for verdict in audit(self.connection, scenario.invariants) if not verdict.holds]
        return [*lines, *(f"violated: {verdict.name}: {verdict.rows}" for verdict in broken)]
