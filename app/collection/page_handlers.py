"""Handlers of results: settle pages, count items, complete runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.collection import budget, counting, sellers_seen
from app.collection.sellers_seen import ItemResult
from app.collection.settle import settle
from app.context import Connection, HandlerContext
from app.errors import FailingEvents
from events import Event
from events.collection import ItemCompleted, PageCompleted

_LOCK_RUNS = """
SELECT id, org_id FROM collection.collection_runs WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""


def page_completed(context: HandlerContext, completed: Sequence[Event[PageCompleted]]) -> list[Event[Any]]:
    """Settle pages. Returns the events to publish. Raises `FailingEvents`; see `settle.settle()`."""
    return settle(context, [(event, event.data) for event in completed])


def item_completed(context: HandlerContext, completed: Sequence[Event[ItemCompleted]]) -> list[Event[Any]]:
    """Record the results of items, count them, and complete their runs. Returns the events to publish.

    Raises `FailingEvents` for an item that does not exist or is another organisation's.
    """
    orgs = lock_runs(context.connection, {event.data.run_id for event in completed})
    foreign = {
        event.id: f"run {event.data.run_id} is not of this organisation"
        for event in completed
        if event.tenantid is None or orgs.get(event.data.run_id) != event.tenantid
    }
    if foreign:
        raise FailingEvents(foreign)
    counts = counting.count(context.connection, [event.data for event in completed])
    matched = {one.place for one in counts}
    if unknown := [event for place, event in enumerate(completed) if place not in matched]:
        raise FailingEvents({event.id: f"run {event.data.run_id} has no such item" for event in unknown})
    counted = [completed[one.place] for one in counts if one.counts]
    sellers_seen.record(context.connection, [_result(event, orgs) for event in counted])
    causes = {completed[one.place].data.run_id: completed[one.place] for one in counts if one.is_last}
    return budget.finish(context, causes.keys(), causes)


def lock_runs(connection: Connection, run_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Lock runs in the order of their ids until the transaction ends. Returns their organisations, by id."""
    return dict(connection.execute(_LOCK_RUNS, [sorted(run_ids)]).fetchall())


def _result(event: Event[ItemCompleted], orgs: Mapping[UUID, UUID]) -> ItemResult:
    item = event.data
    return ItemResult(orgs[item.run_id], item.run_id, item.item_type, item.external_id, item.status, item.data)
