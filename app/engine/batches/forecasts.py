"""Forecast the outcome of replaying a batch's dead letters, for replay plans. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import scalar_row

from app.context import Connection
from app.engine.batches import store
from app.engine.batches.retry import can_be_revived
from app.engine.batches.statements import statement
from app.engine.batches.tables import Batch
from app.engine.domain import Forecast
from events import Event

_PENDING = """
SELECT i.id FROM {items} i JOIN {jobs} j ON j.id = i.{job_id}
 WHERE i.{job_id} = %s AND j.{tenant} = %s AND i.{status} = {pending} AND (%s::uuid[] IS NULL OR i.id = ANY(%s))
"""


def requests(connection: Connection, batch: Batch[Any, Any], requested: Sequence[Event[Any]]) -> dict[UUID, Forecast]:
    """Return the forecast of reviving requests, by event id.

    A request of a cancelled job can be replayed. Its call may have been made, so the other side is asked; no call is
    begun. The item gets what was found, or fails as cancelled, and the job ends.
    """
    items = store.item_states(connection, batch, [batch.item_of(event.data) for event in requested])
    obstacles = batch.obstacles(connection, requested) if batch.obstacles else {}
    found: dict[UUID, Forecast] = {}
    for event in requested:
        item = items.get(batch.item_of(event.data))
        if item is None or not can_be_revived(batch, item, event):
            found[event.id] = Forecast(idle="overtaken: the item has a result, or a later attempt, or is gone")
        elif event.id in obstacles:
            found[event.id] = Forecast(blocked=obstacles[event.id])
        else:
            found[event.id] = Forecast(frozenset({item.id}), frozenset({item.job_id}))
    return found


def results(connection: Connection, batch: Batch[Any, Any], completed: Sequence[Event[Any]]) -> dict[UUID, Forecast]:
    """Return the forecast of applying results, by event id."""
    items = store.item_states(connection, batch, [batch.item_of(event.data) for event in completed])
    found: dict[UUID, Forecast] = {}
    for event in completed:
        item = items.get(batch.item_of(event.data))
        if item is None or (item.job_id, item.tenant_id) != (batch.job_of(event.data), event.tenantid):
            found[event.id] = Forecast(blocked=f"the item is not of that job of this {batch.owner}: it would die again")
        elif not item.is_open or item.retry_count != batch.attempt_of(event.data):
            found[event.id] = Forecast(idle="late: the item has a result, or waits for another attempt's")
        else:
            found[event.id] = Forecast(frozenset({item.id}), frozenset({item.job_id}))
    return found


def submissions(
    connection: Connection, batch: Batch[Any, Any], submitted: Sequence[Event[Any]]
) -> dict[UUID, Forecast]:
    """Return the forecast of requesting the items of submitted jobs, by event id."""
    found: dict[UUID, Forecast] = {}
    for event in submitted:
        named = getattr(event.data, "attempt_items", None)
        only = None if named is None else list(named)
        cursor = connection.cursor(row_factory=scalar_row)
        wanted = [batch.job_of(event.data), event.tenantid, only, only]
        items = frozenset(cursor.execute(statement(batch, _PENDING), wanted))
        found[event.id] = Forecast(items) if items else Forecast(idle="no item of the job waits")
    return found
