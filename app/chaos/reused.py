"""Events with the id of another event, as a faulty producer publishes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from app.chaos.item_results import Item, failure
from app.chaos.part import Work
from app.context import Connection
from events import Event

_APPLIED_RESULT = """
SELECT event_id, tenant_id, data FROM engine.event_log
 WHERE event_id >= %s AND type = %s ORDER BY event_id LIMIT 1
"""


def under_applied_id(connection: Connection, work: Work, start: UUID, now: datetime) -> list[Event[Any]]:
    """Return an event with the id of the first applied result from `start` on; an empty list without one."""
    row = connection.execute(_APPLIED_RESULT, [start, work.batch.completed.type]).fetchone()
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
