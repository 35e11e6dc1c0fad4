"""A toy domain in which order matters: steps are taken one after the other, on many paths.

A fault belongs to a step by its number and can be mended, as a deployment mends a bug.
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
    """One step on the path that is the event's subject."""

    n: int


@dataclass(slots=True)
class StepFaults:
    """What happens to steps: `shaky` ones fail so many deliveries more, `broken` ones every delivery."""

    shaky: dict[int, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)

    def walk(self, context: HandlerContext, steps: list[Event[Step]]) -> Iterable[Event[Step]]:
        """Take the steps in the order of the list, or fail."""
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
        """Steps, and words that know no order."""
        return Wiring(handlers={Step: self.walk, toy.Said: toy.hear, toy.Echo: toy.echo}, effects={})


def step(path: UUID, n: int) -> Event[Step]:
    """A step as an event."""
    return events.new(Step(n=n), now=toy.NOW, subject=path, tenant=None)


def paths(count: int) -> list[UUID]:
    """So many subjects."""
    return [uuid4() for _ in range(count)]


def taken(connection: Connection, path: UUID) -> list[int]:
    """The steps that were taken on a path, in order."""
    rows = connection.execute("SELECT word FROM toy.heard WHERE starts_with(word, %s) ORDER BY id", [f"{path}:"])
    return [int(word.rpartition(":")[2]) for (word,) in rows]


def held(connection: Connection) -> int:
    """How many events are held."""
    return int(scalar(connection, "SELECT count(*) FROM engine.sequence WHERE held IS NOT NULL"))


@contextmanager
def engine(database: Database) -> Iterator[Engine]:
    """An engine whose deliveries a test makes one by one; three attempts an event."""
    pool: ConnectionPool[Connection] = doors.pool(max_size=4, address=database.url)
    try:
        yield Engine(pool, Policy(most_attempts=3, base=100.0))
    finally:
        pool.close()


def fetch(connection: Connection) -> tuple[Delivery, bool] | None:
    """What a worker does before it delivers: the delivery, and whether its siblings may come along."""
    row = connection.execute(
        "SELECT id, attempts, worker_id, task_name = 'consume' FROM procrastinate_fetch_job_v2(ARRAY['events'], NULL)"
    ).fetchone()
    return None if row is None or row[0] is None else (Delivery(*row[:3]), row[3])


def deliver(engine: Engine, connection: Connection) -> bool:
    """Deliver what is due next; False when nothing is."""
    fetched = fetch(connection)
    if fetched is None:
        return False
    delivery, siblings = fetched
    consume(engine, delivery, siblings=siblings)
    return True


def deliver_all(worker: Engine, connection: Connection) -> None:
    """Deliver whatever is due, until nothing is."""
    while deliver(worker, connection):
        pass


def make_due(connection: Connection) -> None:
    """Let the time pass for which events were put back."""
    connection.execute("UPDATE engine.delayed SET due_at = now()")
    promote(connection)


def replay(connection: Connection, event_id: UUID) -> None:
    """Put a dead event into the queue again, as `dead replay` does."""
    text = scalar(
        connection, "SELECT event_data::text FROM engine.failed_jobs WHERE event_id = %s ORDER BY failed_at", event_id
    )
    (queued,) = open_rows([Row(0, text)])
    assert isinstance(queued.event, Event)
    put_back(connection, [(queued.event, queued.raw)], delay=0, attempt=0)
