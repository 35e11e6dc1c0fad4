"""A test domain with sequenced events: steps on paths. A path is the events' subject.

Faults belong to steps by number, and can be removed as a deployment fixes a bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from psycopg_pool import ConnectionPool

import events
from app import database as doors
from app.context import Connection, HandlerContext
from app.engine.delivery.consume import consume
from app.engine.delivery.engine import Engine
from app.engine.domain import Policy, Wiring
from app.engine.queue.delayed import promote
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import put_back
from app.errors import Permanent, Transient
from events import Event, Payload
from events.base import event_type
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import scalar


@event_type("toy/step.taken", sequenced=True)
class Step(Payload):
    """A step on a path."""

    n: int


@dataclass(slots=True)
class StepFaults:
    """Faults of steps. `shaky`: deliveries that still fail, by number. `broken`: numbers that always fail."""

    shaky: dict[int, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)

    def walk(self, context: HandlerContext, steps: list[Event[Step]]) -> Iterable[Event[Step]]:
        """Apply the steps in the order of the list, or fail."""
        for event in steps:
            n = event.data.n
            if n in self.broken:
                message = f"no ground at {n}"
                raise Permanent(message)
            if self.shaky.get(n):
                # Only the delivery of the step alone is one that it fails: the others are the search for it.
                self.shaky[n] -= len(steps) == 1
                message = f"shaky ground at {n}"
                raise Transient(message)
            toy.note(context, event.id, f"{event.subject}:{n}")
        return ()

    def wiring(self) -> Wiring:
        """Return the wiring of steps, and of words, which are not sequenced."""
        return Wiring(handlers={Step: self.walk, toy.Said: toy.hear, toy.Echo: toy.echo}, effects={})


def step(path: UUID, n: int) -> Event[Step]:
    """Return the event of a step."""
    return events.new(Step(n=n), now=toy.NOW, subject=path, tenant=None)


def paths(count: int) -> list[UUID]:
    """Return new subjects."""
    return [uuid4() for _ in range(count)]


def taken(connection: Connection, path: UUID) -> list[int]:
    """Return the applied steps of a path, in order."""
    rows = connection.execute("SELECT word FROM toy.heard WHERE starts_with(word, %s) ORDER BY id", [f"{path}:"])
    return [int(word.rpartition(":")[2]) for (word,) in rows]


def held(connection: Connection) -> int:
    """Return the number of held events."""
    return int(scalar(connection, "SELECT count(*) FROM engine.sequence WHERE held IS NOT NULL"))


@contextmanager
def engine(database: Database) -> Iterator[Engine]:
    """An engine for single deliveries in a test. Events have three attempts."""
    pool: ConnectionPool[Connection] = doors.pool(max_size=4, address=database.url)
    try:
        yield Engine(pool, Policy(most_attempts=3, base=100.0))
    finally:
        pool.close()


def fetch(connection: Connection) -> tuple[Delivery, bool] | None:
    """Fetch a due row as a worker does. Returns the delivery, and whether it may take siblings."""
    row = connection.execute(
        "SELECT id, attempts, worker_id, task_name = 'consume' FROM procrastinate_fetch_job_v2(ARRAY['events'], NULL)"
    ).fetchone()
    return None if row is None or row[0] is None else (Delivery(*row[:3]), row[3])


def deliver(engine: Engine, connection: Connection) -> bool:
    """Deliver the next due row. Returns False if none is due."""
    fetched = fetch(connection)
    if fetched is None:
        return False
    delivery, siblings = fetched
    consume(engine, delivery, siblings=siblings)
    return True


def deliver_all(worker: Engine, connection: Connection) -> None:
    """Deliver rows until none is due."""
    while deliver(worker, connection):
        pass


def make_due(connection: Connection) -> None:
    """Make all delayed rows due."""
    connection.execute("UPDATE engine.delayed SET due_at = now()")
    promote(connection)


def replay(connection: Connection, event_id: UUID) -> None:
    """Publish a dead event again, as `dead replay` does."""
    text = scalar(
        connection, "SELECT event_data::text FROM engine.failed_jobs WHERE event_id = %s ORDER BY failed_at", event_id
    )
    (queued,) = open_rows([Row(0, text)])
    assert isinstance(queued.event, Event)
    put_back(connection, [(queued.event, queued.raw)], delay=0, attempt=0)
