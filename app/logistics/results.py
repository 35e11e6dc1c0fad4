"""The orders that results of items ship."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.batches.store import item_states
from app.logistics.store import ROBOT_JOBS
from events import Event
from events.robot import ItemCompleted


def orders_of(connection: Connection, events: Sequence[Event[Any]]) -> dict[UUID, UUID]:
    """Return the ids of the orders of successful results, by the event's id."""
    shipped = {
        event.id: event.data.item_id
        for event in events
        if type(event.data) is ItemCompleted and event.data.status == "success"
    }
    items = item_states(connection, ROBOT_JOBS, list(shipped.values()))
    return {event_id: items[item_id].about[0] for event_id, item_id in shipped.items() if item_id in items}
