"""Events with the id of another event, as a faulty producer publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import events
from app.context import Connection
from events import Event, robot

_APPLIED_RESULT = """
SELECT event_id, tenant_id, data FROM engine.event_log
 WHERE event_id >= %s AND type = 'robot/item.completed' ORDER BY event_id LIMIT 1
"""


def under_applied_id(connection: Connection, start: UUID, now: datetime) -> list[Event[robot.ItemCompleted]]:
    """Return an event with the id of the first applied result from `start` on; an empty list without one."""
    row = connection.execute(_APPLIED_RESULT, [start]).fetchone()
    if row is None:
        return []
    event_id, tenant_id, data = row
    return [events.new(_tagged(data), now=now, subject=UUID(data["job_id"]), tenant=tenant_id, event_id=event_id)]


def under_one_id(items: Sequence[dict[str, Any]], now: datetime) -> list[Event[robot.ItemCompleted]]:
    """Return two results with one new id for each item."""
    event_id = uuid4()
    return [
        events.new(
            _tagged({"job_id": item["job_id"], "item_id": item["id"], "attempt": item["retry_count"]}),
            now=now,
            subject=item["job_id"],
            tenant=item["workspace_id"],
            event_id=event_id,
        )
        for item in items
        for _ in range(2)
    ]


def _tagged(about: dict[str, Any]) -> robot.ItemCompleted:
    """Return a failure of an item with a unique message."""
    return robot.ItemCompleted(
        job_id=about["job_id"],
        item_id=about["item_id"],
        attempt=about["attempt"],
        status="error",
        error_type="unknown",
        error_message=f"reused {uuid4()}",
    )
