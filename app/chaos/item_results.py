"""Results of items, made up: the events that a domain's effect would publish."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import events
from app.chaos.part import Work
from events import Event

Item = tuple[UUID, UUID, UUID]
"""The ids of a job, of an item and of their tenant."""
SOME_ITEMS: LiteralString = """
SELECT i.{job_id}, i.id, j.{tenant} FROM {items} i JOIN {jobs} j ON j.id = i.{job_id} ORDER BY random() LIMIT 40
"""


def failure(
    work: Work, item: Item, attempt: int, message: str, now: datetime, event_id: UUID | None = None
) -> Event[Any]:
    """Return a failed result of an item. `event_id`: default a new one."""
    said = {"status": work.batch.error, "error_type": work.error_type, "error_message": message}
    return _result(work, item, attempt, said, now, event_id)


def success(work: Work, item: Item, attempt: int, now: datetime, *, may_count: bool) -> Event[Any]:
    """Return a successful result of an item. `may_count`: whether it can be recorded."""
    return _result(work, item, attempt, {"status": work.batch.success, **work.success(may_count)}, now)


def _result(
    work: Work, item: Item, attempt: int, said: dict[str, Any], now: datetime, event_id: UUID | None = None
) -> Event[Any]:
    batch, (job_id, item_id, tenant_id) = work.batch, item
    about = {batch.job_id: job_id, batch.item_id: item_id, "attempt": attempt}
    return events.new(batch.completed(**about, **said), now=now, subject=job_id, tenant=tenant_id, event_id=event_id)
