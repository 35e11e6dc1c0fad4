"""Queued events of tests: events as a delivery reads them from a queue row, without a queue row."""

from __future__ import annotations

from typing import Any

from app.engine.queue.envelope import QueuedEvent, Since
from events import Event, Unreadable


def queued(event: Event[Any], *, attempt: int = 0, row_id: int = 0, since: Since | None = None) -> QueuedEvent:
    """Return an event of a row, with the JSON that was published."""
    return QueuedEvent(row_id, attempt, event.model_dump(mode="json", exclude_none=True), event, since)


def unreadable(event: Event[Any], reason: str = "broken", *, is_unknown: bool = False) -> QueuedEvent:
    """Return an event of a row that this program cannot parse."""
    raw = event.model_dump(mode="json", exclude_none=True)
    return QueuedEvent(0, 0, raw, Unreadable(raw, reason, is_unknown=is_unknown))
