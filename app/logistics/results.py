"""Record results of items for one workspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app.context import Connection, Context
from app.engine.batches.results import Applied, Result, apply
from app.engine.batches.store import item_states
from app.engine.queue.publish import publish
from app.logistics.store import ROBOT_JOBS
from events import Event
from events.robot import ItemCompleted


def update_job_item_result(context: Context, said: ItemCompleted) -> Applied:
    """Record the result of one item. Raises `NotFound` if the item is not the workspace's."""
    return update_job_item_results(context, [said])


def update_job_item_results(context: Context, results: Sequence[ItemCompleted]) -> Applied:
    """Record results of items in one transaction: update items, counters and orders, complete jobs, publish events.

    Late results change nothing; `late` counts them. Raises `NotFound`, and records nothing, if an item does not belong
    to the job of its result or to the workspace.
    """
    with context.connection.transaction():
        applied = apply(context, ROBOT_JOBS, [Result(context.tenant_id, data) for data in results])
        publish(context.connection, *applied.follow)
    return applied


def orders_of(connection: Connection, events: Sequence[Event[Any]]) -> dict[UUID, UUID]:
    """Return the ids of the orders of successful results, by the event's id."""
    shipped = {
        event.id: event.data.item_id
        for event in events
        if type(event.data) is ItemCompleted and event.data.status == "success"
    }
    items = item_states(connection, ROBOT_JOBS, list(shipped.values()))
    return {event_id: items[item_id].about[0] for event_id, item_id in shipped.items() if item_id in items}
