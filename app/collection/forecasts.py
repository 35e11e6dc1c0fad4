"""Forecast the outcome of replaying dead letters of collection, for replay plans. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.collection import places, store
from app.context import Connection
from app.engine.domain import Forecast
from events import Event
from events.collection import ItemCompleted, PageCompleted, PageRequested

_FOREIGN = "it is not of that run of this organisation: it would die again"


@dataclass(frozen=True, slots=True)
class _Page:
    id: UUID
    run_id: UUID
    org_id: UUID
    status: str
    attempt: int
    run_status: str
    pause_reason: str | None

    @property
    def is_open(self) -> bool:
        return self.status in {"pending", "processing"}


@dataclass(frozen=True, slots=True)
class _Item:
    event_id: UUID
    id: UUID
    run_id: UUID
    org_id: UUID
    is_open: bool


_PAGES = """
SELECT p.id, p.run_id, p.org_id, p.status, p.attempt, r.status AS run_status, r.pause_reason
  FROM collection.collection_pages p JOIN collection.collection_runs r ON r.id = p.run_id
 WHERE p.id = ANY(%s)
"""
_ITEMS = """
SELECT said.event_id, i.id, i.run_id, i.org_id, i.status IN ('pending', 'processing') AS is_open
  FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[])
       AS said (event_id, run_id, marketplace, item_type, external_id)
  JOIN collection.collection_items i USING (run_id, marketplace, item_type, external_id)
"""


def starts(connection: Connection, said: Sequence[Event[Any]]) -> dict[UUID, Forecast]:
    """Return the forecast of events that start waiting runs, by event id."""
    owners = store.owners(connection, [event.data.run_id for event in said])
    found: dict[UUID, Forecast] = {}
    for event in said:
        if event.tenantid is None or owners.get(event.data.run_id) != event.tenantid:
            found[event.id] = Forecast(blocked="the run is not of this organisation: it would die again")
            continue
        startable = places.startable(connection, [event.tenantid])
        found[event.id] = (
            Forecast(jobs=frozenset(startable)) if startable else Forecast(idle="no run waits for a place")
        )
    return found


def requests(connection: Connection, requested: Sequence[Event[PageRequested]]) -> dict[UUID, Forecast]:
    """Return the forecast of reviving requests of pages, by event id.

    A page that has begun may be charged, whatever the state of its run is: the marketplace is asked. Otherwise a page
    is bought only if its run is running.
    """
    pages = _pages(connection, [event.data.page_id for event in requested])
    found: dict[UUID, Forecast] = {}
    for event in requested:
        page = pages.get(event.data.page_id)
        if page is None or (page.run_id, page.org_id) != (event.data.run_id, event.tenantid):
            found[event.id] = Forecast(blocked=f"the page is gone, or {_FOREIGN}")
        elif not page.is_open or page.attempt != event.data.attempt:
            found[event.id] = Forecast(idle="overtaken: the page has a result, or was requested again")
        elif page.status == "pending" and page.run_status != "running":
            why = f" ({page.pause_reason})" if page.pause_reason else ""
            found[event.id] = Forecast(blocked=f"run {page.run_id} is {page.run_status}{why}: no page is bought")
        else:
            found[event.id] = Forecast(frozenset({page.id}), frozenset({page.run_id}))
    return found


def results(connection: Connection, completed: Sequence[Event[PageCompleted]]) -> dict[UUID, Forecast]:
    """Return the forecast of settling pages, by event id. The items are the pages."""
    pages = _pages(connection, [event.data.page_id for event in completed])
    found: dict[UUID, Forecast] = {}
    for event in completed:
        page = pages.get(event.data.page_id)
        if page is None or (page.run_id, page.org_id) != (event.data.run_id, event.tenantid):
            found[event.id] = Forecast(blocked=f"the page is gone, or {_FOREIGN}")
        elif not page.is_open or page.attempt != event.data.attempt:
            found[event.id] = Forecast(idle="late: the page has a result, or waits for another attempt's")
        else:
            found[event.id] = Forecast(frozenset({page.id}), frozenset({page.run_id}))
    return found


def items(connection: Connection, completed: Sequence[Event[ItemCompleted]]) -> dict[UUID, Forecast]:
    """Return the forecast of recording results of items, by event id."""
    said = [(e.id, e.data.run_id, e.data.marketplace, e.data.item_type, e.data.external_id) for e in completed]
    columns = [list(column) for column in zip(*said, strict=True)] or [[], [], [], [], []]
    rows = connection.cursor(row_factory=class_row(_Item)).execute(_ITEMS, columns)
    by_event = {row.event_id: row for row in rows}
    found: dict[UUID, Forecast] = {}
    for event in completed:
        item = by_event.get(event.id)
        if item is None or item.org_id != event.tenantid:
            found[event.id] = Forecast(blocked=f"the item is gone, or {_FOREIGN}")
        elif not item.is_open:
            found[event.id] = Forecast(idle="late: the item has a result")
        else:
            found[event.id] = Forecast(frozenset({item.id}), frozenset({item.run_id}))
    return found


def _pages(connection: Connection, page_ids: Sequence[UUID]) -> dict[UUID, _Page]:
    rows = connection.cursor(row_factory=class_row(_Page)).execute(_PAGES, [list(page_ids)])
    return {row.id: row for row in rows}
