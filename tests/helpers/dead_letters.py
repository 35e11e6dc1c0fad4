"""Dead letters of the toy domain: bury events, mend the handler, and read what was applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import letters
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import DeadLetter, Filters
from app.engine.dead_letters.plan import Plan
from app.engine.delivery import bury
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.errors import Permanent
from app.testing import worker
from events import Event
from tests.helpers import toy
from tests.helpers.support import drain_all
from tests.helpers.toy import Outside, say

NOBODY: Any = lambda _progress: None  # noqa: E731 - a callback that ignores the progress


def healed() -> Any:
    """Use the toy domain with a mended handler: it applies every word except those that begin with "hopeless"."""
    wiring = Outside().wiring()

    def hear(context: Any, said: list[Any]) -> Iterator[Any]:
        for event in said:
            if event.data.word.startswith("hopeless"):
                message = "still deaf"
                raise Permanent(message)
            toy.note(context, event.id, event.data.word)
        yield from ()

    return domain.use(domain.Wiring({**wiring.handlers, toy.Said: hear}, wiring.effects))


def buried(connection: Connection, *words: str) -> list[UUID]:
    """Publish words that fail and deliver them until they are dead letters. Returns the ids of their events."""
    said = [say(word, "bad") for word in words]
    publish(connection, *said)
    drain_all(connection)
    return [event.id for event in said]


def dead(connection: Connection, *events: Event[Any], error: Exception | None = None) -> list[DeadLetter]:
    """Write a dead letter for each event, without a delivery. Returns the letters in the order of the events."""
    rows = [QueuedEvent(0, 0, event.model_dump(mode="json", exclude_none=True), event) for event in events]
    bury.bury(connection, [(row, error or Permanent("no")) for row in rows])
    return [letters.find(connection, event.id) for event in events]


def begin_call(connection: Connection, event: Event[Any], key: UUID | None = None) -> None:
    """Mark the call of an event as begun by a delivery that is gone: it is in doubt."""
    statement = "INSERT INTO engine.calls (call_key, event_id, row_id, attempts) VALUES (%s, %s, 0, 0)"
    connection.execute(statement, [key or event.id, event.id])


def plan_of_one_that_died_again(connection: Connection) -> Plan:
    """Return a plan of one letter whose event was delivered and dead-lettered once more since."""
    event = say("word", "bad")
    dead(connection, event)
    plan = plans.make(connection, Filters(), actor="ana")
    (again,) = dead(connection, event)
    assert len(again.history) == 1
    return plan


def heard(connection: Connection) -> list[str]:
    """Return the words that were applied, in alphabetical order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def make_call(connection: Connection, event: Event[Any], key: UUID | None = None) -> None:
    """Let a live delivery make the call of an event: its row is fetched, and its call is begun."""
    publish(connection, event)
    fetched = worker.fetch(connection, worker.register(connection))
    assert fetched is not None
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, worker_id) VALUES (%s, %s, %s, %s, %s)",
        [key or event.id, event.id, fetched.row_id, fetched.attempts, fetched.worker_id],
    )
