"""Events with the id of another event, as a faulty producer publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

from app.chaos.item_results import Item, failure
from app.chaos.part import Work
from app.context import Connection
from app.engine.batches.statements import statement
from events import Event

_APPLIED_RESULT = """
SELECT event_id, tenant_id, data FROM engine.event_log
 WHERE event_id >= %s AND type = %s ORDER BY event_id LIMIT 1
"""
_DEAD_RESULT: LiteralString = """
SELECT f.event_id, j.{tenant}, f.event_data -> 'data' FROM engine.failed_jobs f
  JOIN {jobs} j ON j.id::text = f.event_data ->> 'subject'
 WHERE f.resolved_at IS NULL AND f.job_type = %s AND f.event_id::text = f.event_data ->> 'id'
 ORDER BY f.event_id >= %s DESC, f.event_id LIMIT 1
"""


def under_applied_id(connection: Connection, work: Work, start: UUID, now: datetime) -> list[Event[Any]]:
    """Return an event with the id of the first applied result from `start` on; an empty list without one."""
    return _under(work, connection.execute(_APPLIED_RESULT, [start, work.batch.completed.type]).fetchone(), now)


def under_dead_id(connection: Connection, work: Work, start: UUID, now: datetime) -> list[Event[Any]]:
    """Return a result of the job's own tenant with the id of an open dead letter; an empty list without one.

    Most of these letters are results for another tenant's item. The first from `start` on is taken.
    """
    query = statement(work.batch, _DEAD_RESULT)
    return _under(work, connection.execute(query, [work.batch.completed.type, start]).fetchone(), now)


def _under(work: Work, row: Sequence[Any] | None, now: datetime) -> list[Event[Any]]:
    if row is None:
        return []
    event_id, tenant_id, data = row
    item = (UUID(data[work.batch.job_id]), UUID(data[work.batch.item_id]), tenant_id)
    return [failure(work, item, data["attempt"], _unique(), now, event_id)]


def under_one_id(work: Work, item: Item, attempt: int, now: datetime) -> list[Event[Any]]:
    """Return two results of an attempt at an item, with one new id."""
    event_id = uuid4()
    return [failure(work, item, attempt, _unique(), now, event_id) for _ in range(2)]


def _unique() -> str:
    return f"reused {uuid4()}"
