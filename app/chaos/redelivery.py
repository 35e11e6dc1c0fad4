"""Redelivery: delivers waiting and applied events again, and entries that are no event.

    copy         a waiting or current event, with its own id
    again        an applied event, with its own id
    gibberish    an unknown event: it must be dead-lettered

The order is random, and some events are delayed. `results` delivers results that no effect published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import events
from app.chaos.actors import Actor, until_known
from app.chaos.model import Kind
from app.context import Connection
from app.engine.queue.publish import publish
from events import Event

MOST = 8
"""Most events of one delivery."""

_LYING_HERE = """
SELECT args FROM engine.waiting()
 WHERE status IN ('todo', 'doing') AND (args ? 'specversion' OR args ? 'events') ORDER BY random() LIMIT 2
"""
_APPLIED = """
SELECT event_id, type, version, tenant_id, subject_id, causation_id, data, occurred_at FROM engine.event_log
 WHERE event_id >= %s ORDER BY event_id LIMIT %s
"""
_DEFER = """
SELECT public.procrastinate_defer_jobs_v1(ARRAY[
    row('events', 'consume', 0, NULL, NULL, %s, NULL)::public.procrastinate_job_to_defer_v1])
"""


class Delivery(Actor):
    """An actor that publishes events of its own choice."""

    pause = 0.6

    def deliver(self, kind: Kind, found: Sequence[Event[Any]]) -> None:
        """Publish events in a random order, some delayed, and note them in the model."""
        if not found:
            return
        some = self.dice.sample(found, len(found))
        delays = [self.dice.choice((0.0, 0.0, 0.3, 1.0)) for _ in some]
        # After an unknown result, publish again with the same ids.
        until_known(lambda: self.publish(some, delays))
        self.model.deliver([event.id for event in some], kind)
        self.model.count(f"delivered {kind}")

    def publish(self, some: Sequence[Event[Any]], delays: Sequence[float]) -> None:
        """Publish each event with its delay in seconds, in one transaction."""
        with self.stage.connect() as connection:
            for event, delay in zip(some, delays, strict=True):
                publish(connection, event, delay=delay)

    def anywhere(self) -> UUID:
        """Return a random position among the ids."""
        return UUID(int=self.dice.getrandbits(128))

    def few(self) -> int:
        """Return a random number of events."""
        return self.dice.randint(1, MOST)


class Redelivery(Delivery):
    """Delivers events again, and entries that are no event."""

    def act(self) -> None:
        """Deliver a few events of one kind."""
        (kind,) = self.dice.choices(("copy", "again", "gibberish"), (5, 5, 1))
        if kind == "gibberish":
            self._gibberish()
            return
        with self.stage.connect() as connection:
            found = self._copies(connection) if kind == "copy" else self._applied(connection)
        self.deliver("copy" if kind == "copy" else "again", found)

    def _copies(self, connection: Connection) -> Sequence[Event[Any]]:
        raws = [raw for (args,) in connection.execute(_LYING_HERE) for raw in args.get("events", [args])]
        some = _readable(self.dice.sample(raws, min(MOST, len(raws))))
        return [event for event in some if not self.model.is_delayed(event.id)]

    def _applied(self, connection: Connection) -> Sequence[Event[Any]]:
        cursor = connection.cursor(row_factory=dict_row)
        return _readable([_envelope(row) for row in cursor.execute(_APPLIED, [self.anywhere(), self.few()])])

    def _gibberish(self) -> None:
        event_id = uuid4()
        raw = {"specversion": "1.0", "id": str(event_id), "type": "chaos/event.vanished", "data": {}}

        def say() -> None:
            with self.stage.connect() as connection:
                connection.execute(_DEFER, [Jsonb(raw)])

        until_known(say)
        self.model.deliver([event_id], "gibberish")
        self.model.count("delivered gibberish")


def _envelope(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a ledger row to the published event."""
    given = {
        "specversion": "1.0",
        "id": str(row["event_id"]),
        "source": f"tallyman/{row['type'].partition('/')[0]}",
        "type": row["type"],
        "dataschema": f"{row['type']}/{row['version']}",
        "subject": row["subject_id"],
        "time": row["occurred_at"],
        "tenantid": row["tenant_id"],
        "causationid": row["causation_id"],
        "data": row["data"],
    }
    return {name: value for name, value in given.items() if value is not None}


def _readable(raws: Sequence[Any]) -> list[Event[Any]]:
    return [event for event in events.parse_all(raws) if isinstance(event, Event)]
