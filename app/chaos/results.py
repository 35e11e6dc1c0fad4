"""Results: delivers results of items that no effect published.

late         a result of an earlier attempt of the item
early        a result of an attempt that was not requested yet
foreign      a result of the current attempt: it counts if it is the first
mismatched   a result for another tenant's item: it must be dead-lettered
reused       a result with the id of an applied or dead event, or two results with one id: one must be dead-lettered
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row

from app.chaos.actors import until_known
from app.chaos.item_results import failure, success
from app.chaos.model import Kind, Model
from app.chaos.part import Work
from app.chaos.redelivery import Delivery
from app.chaos.reused import under_applied_id, under_dead_id, under_one_id
from app.chaos.stage import Stage
from app.context import Connection, HandlerContext
from app.engine.batches.statements import statement
from events import Event

_ITEMS: LiteralString = """
SELECT i.id, i.{job_id} AS job_id, i.retry_count, j.{tenant} AS tenant_id
  FROM {items} i JOIN {jobs} j ON j.id = i.{job_id}
 WHERE i.id >= %s AND i.retry_count >= %s AND (NOT %s OR i.{status} IN ({pending}, {processing}))
 ORDER BY i.id LIMIT %s
"""
_SOME_JOB: LiteralString = "SELECT id FROM {jobs} ORDER BY random() LIMIT 1"
_FIRST_ITEM: LiteralString = "SELECT id FROM {items} WHERE {job_id} = %s ORDER BY id LIMIT 1"


@dataclass(frozen=True, slots=True)
class _Item:
    id: UUID
    job_id: UUID
    retry_count: int
    tenant_id: UUID


class Results(Delivery):
    """Delivers results of a work's items: late, early, foreign, of other tenants, and with ids of other events."""

    def __init__(self, stage: Stage, model: Model, seed: str, *, work: Work) -> None:
        super().__init__(stage, model, seed)
        self._work = work

    def act(self) -> None:
        """Deliver a few results of one kind."""
        ways: dict[Kind, tuple[int, Callable[[Connection], Sequence[Event[Any]]]]] = {
            "late": (3, self._late),
            "early": (2, self._early),
            "foreign": (4, self._foreign),
            "mismatched": (1, self._of_other_tenants),
        }
        kind: Kind = self.dice.choices([*ways, "reused"], [*(share for share, _ in ways.values()), 2])[0]
        if kind == "reused":
            self._reuse()
            return
        with self.stage.connect() as connection:
            found = ways[kind][1](connection)
        self.deliver(kind, found)

    def _late(self, connection: Connection) -> Sequence[Event[Any]]:
        return [
            self._result(connection, item, self.dice.randrange(item.retry_count))
            for item in self._items(connection, retried=1)
        ]

    def _early(self, connection: Connection) -> Sequence[Event[Any]]:
        return [self._result(connection, item, item.retry_count + 1) for item in self._items(connection)]

    def _foreign(self, connection: Connection) -> Sequence[Event[Any]]:
        items = self._items(connection, waiting=True)[:2]
        return [self._result(connection, item, item.retry_count) for item in items]

    def _of_other_tenants(self, connection: Connection) -> Sequence[Event[Any]]:
        for item in self._items(connection, waiting=True)[:1]:
            other = self.dice.choice([one for one in self._work.tenants if one != item.tenant_id])
            return [self._result(connection, item, item.retry_count, tenant=other)]
        return []

    def _items(self, connection: Connection, *, retried: int = 0, waiting: bool = False) -> list[_Item]:
        """Return some items of a random job."""
        batch = self._work.batch
        job = connection.execute(statement(batch, _SOME_JOB)).fetchone()
        first = connection.execute(statement(batch, _FIRST_ITEM), [job[0]]).fetchone() if job else None
        if first is None:
            return []
        cursor = connection.cursor(row_factory=class_row(_Item))
        return cursor.execute(statement(batch, _ITEMS), [first[0], retried, waiting, self.few()]).fetchall()

    def _result(self, connection: Connection, item: _Item, attempt: int, *, tenant: UUID | None = None) -> Event[Any]:
        """Return a random result of an item. `tenant`: another one than the item's."""
        now = HandlerContext.begin(connection).now
        about = (item.job_id, item.id, tenant or item.tenant_id)
        if self.dice.random() < 0.5:  # noqa: PLR2004 - heads or tails
            return failure(self._work, about, attempt, "said elsewhere", now)
        return success(self._work, about, attempt, now, may_count=tenant is None)

    def _reuse(self) -> None:
        """Publish an event with the id of an applied or dead one, or two with one new id, each in its own commit."""
        way = self.dice.choice(("applied", "dead", "new"))
        with self.stage.connect() as connection:
            now = HandlerContext.begin(connection).now
            match way:
                case "applied":
                    some = under_applied_id(connection, self._work, self.anywhere(), now)
                case "dead":
                    some = under_dead_id(connection, self._work, self.anywhere(), now)
                case _:
                    some = self._two_with_one_id(connection, now)
        for event in some:
            self.model.reuse(event.id, event.data.error_message, is_taken=way != "new")
            until_known(partial(self.publish, [event], [0.0]))
            self.model.deliver([event.id], "reused")
        if some:
            self.model.count(f"delivered reused, {way} id")

    def _two_with_one_id(self, connection: Connection, now: datetime) -> list[Event[Any]]:
        for item in self._items(connection, waiting=True)[:1]:
            about = (item.job_id, item.id, item.tenant_id)
            return under_one_id(self._work, about, item.retry_count, now)
        return []
