"""Redelivery: delivers duplicate, late, early, foreign and invalid events.

    copy         a waiting or current event, with its own id
    again        an applied event, with its own id
    late         a result of an earlier attempt of the item
    early        a result of an attempt that was not requested yet
    foreign      a result that no robot published: it counts if it is the first
    stranger     a result for another tenant's item: it must be dead-lettered
    reused       an event with other data and the id of an applied event, or two events with one id: one must be
                 dead-lettered
    gibberish    an unknown event: it must be dead-lettered

The order is random, and some events are delayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import events
from app.chaos.actors import Actor, until_known
from app.chaos.model import Kind
from app.chaos.reused import under_applied_id, under_one_id
from app.context import Connection, HandlerContext
from app.engine.queue.publish import publish
from events import Event, robot

_MOST = 8
"""Most events of one delivery."""

_LYING_HERE = """
SELECT args FROM engine.waiting()
 WHERE status IN ('todo', 'doing') AND (args ? 'specversion' OR args ? 'events') ORDER BY random() LIMIT 2
"""
_APPLIED = """
SELECT event_id, type, version, tenant_id, subject_id, causation_id, data, occurred_at FROM engine.event_log
 WHERE event_id >= %s ORDER BY event_id LIMIT %s
"""
_ITEMS = """
SELECT i.id, i.job_id, i.retry_count, i.status, j.workspace_id
  FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.id >= %s AND i.retry_count >= %s AND (NOT %s OR i.status IN ('pending', 'processing')) ORDER BY i.id LIMIT %s
"""
_SOME_JOB = "SELECT id FROM logistics.robot_jobs ORDER BY random() LIMIT 1"
_FIRST_ITEM = "SELECT id FROM logistics.robot_job_items WHERE job_id = %s ORDER BY id LIMIT 1"
_DEFER = """
SELECT public.procrastinate_defer_jobs_v1(ARRAY[
    row('events', 'consume', 0, NULL, NULL, %s, NULL)::public.procrastinate_job_to_defer_v1])
"""


class Redelivery(Actor):
    """Delivers events again, late, early, out of order, foreign, or for the wrong tenant."""

    pause = 0.3

    def act(self) -> None:
        """Deliver a few events of one kind."""
        ways: dict[Kind, tuple[int, Callable[[Connection], Sequence[Event[Any]]]]] = {
            "copy": (5, self._copies),
            "again": (5, self._applied),
            "late": (3, self._late),
            "early": (2, self._early),
            "foreign": (4, self._foreign),
            "stranger": (1, self._of_other_tenants),
        }
        shares = [*(share for share, _ in ways.values()), 1, 2]
        kind: Kind = self.dice.choices([*ways, "gibberish", "reused"], shares)[0]
        if kind == "gibberish":
            self._gibberish()
            return
        if kind == "reused":
            self._reuse()
            return
        with self.stage.connect() as connection:
            found = list(ways[kind][1](connection))
        if not found:
            return
        self.dice.shuffle(found)
        delays = [self.dice.choice((0.0, 0.0, 0.3, 1.0)) for _ in found]
        # After an unknown result, publish again with the same ids.
        until_known(lambda: self._say(found, delays))
        self.model.deliver([event.id for event in found], kind)
        self.model.count(f"delivered {kind}")

    def _say(self, found: Sequence[Event[Any]], delays: Sequence[float]) -> None:
        with self.stage.connect() as connection:
            for event, delay in zip(found, delays, strict=True):
                publish(connection, event, delay=delay)

    def _copies(self, connection: Connection) -> Sequence[Event[Any]]:
        raws = [raw for (args,) in connection.execute(_LYING_HERE) for raw in args.get("events", [args])]
        some = _readable(self.dice.sample(raws, min(_MOST, len(raws))))
        return [event for event in some if not self.model.is_delayed(event.id)]

    def _applied(self, connection: Connection) -> Sequence[Event[Any]]:
        cursor = connection.cursor(row_factory=dict_row)
        return _readable([_envelope(row) for row in cursor.execute(_APPLIED, [self._anywhere(), self._few()])])

    def _late(self, connection: Connection) -> Sequence[Event[Any]]:
        return [
            self._result(connection, item, self.dice.randrange(item["retry_count"]))
            for item in self._items(connection, retried=1)
        ]

    def _early(self, connection: Connection) -> Sequence[Event[Any]]:
        return [self._result(connection, item, item["retry_count"] + 1) for item in self._items(connection)]

    def _foreign(self, connection: Connection) -> Sequence[Event[Any]]:
        items = self._items(connection, waiting=True)[:2]
        return [self._result(connection, item, item["retry_count"]) for item in items]

    def _of_other_tenants(self, connection: Connection) -> Sequence[Event[Any]]:
        for item in self._items(connection, waiting=True)[:1]:
            others = [one for one in self.stage.workspaces if one != item["workspace_id"]]
            forged = {**item, "workspace_id": self.dice.choice(others)}
            return [self._result(connection, forged, item["retry_count"], known=False)]
        return []

    def _items(self, connection: Connection, *, retried: int = 0, waiting: bool = False) -> list[dict[str, Any]]:
        """Return some items of a random job."""
        job = connection.execute(_SOME_JOB).fetchone()
        first = connection.execute(_FIRST_ITEM, [job[0]]).fetchone() if job else None
        if first is None:
            return []
        cursor = connection.cursor(row_factory=dict_row)
        return cursor.execute(_ITEMS, [first[0], retried, waiting, self._few()]).fetchall()

    def _result(
        self, connection: Connection, item: dict[str, Any], attempt: int, *, known: bool = True
    ) -> Event[robot.ItemCompleted]:
        """Return a random result of an item. `known`: the model notes its tracking number, because it may count."""
        about = {"job_id": item["job_id"], "item_id": item["id"], "attempt": attempt}
        number = f"EXT-{uuid4()}"
        if self.dice.random() < 0.5:  # noqa: PLR2004 - heads or tails
            said = robot.ItemCompleted(**about, status="error", error_type="unknown", error_message="said elsewhere")
        else:
            said = robot.ItemCompleted(**about, status="success", tracking_number=number)
            if known:
                self.model.track(number)
        now = HandlerContext.begin(connection).now
        return events.new(said, now=now, subject=item["job_id"], tenant=item["workspace_id"])

    def _gibberish(self) -> None:
        event_id = uuid4()
        raw = {"specversion": "1.0", "id": str(event_id), "type": "robot/item.vanished", "data": {}}

        def say() -> None:
            with self.stage.connect() as connection:
                connection.execute(_DEFER, [Jsonb(raw)])

        until_known(say)
        self.model.deliver([event_id], "gibberish")
        self.model.count("delivered gibberish")

    def _reuse(self) -> None:
        """Publish an event with the id of an applied one, or two events with one new id, each in its own commit."""
        with self.stage.connect() as connection:
            now = HandlerContext.begin(connection).now
            if self.dice.random() < 0.5:  # noqa: PLR2004 - of two ways
                some, is_applied = under_applied_id(connection, self._anywhere(), now), True
            else:
                some, is_applied = under_one_id(self._items(connection, waiting=True)[:1], now), False
        for event in some:
            self.model.reuse(event.id, event.data.error_message or "", is_applied=is_applied)
            until_known(partial(self._say, [event], [0.0]))
            self.model.deliver([event.id], "reused")
        if some:
            self.model.count("delivered reused")

    def _anywhere(self) -> UUID:
        return UUID(int=self.dice.getrandbits(128))

    def _few(self) -> int:
        return self.dice.randint(1, _MOST)


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
