"""Dead requests of pages: which pages wait for them, and what becomes of a page when its request is discarded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app.collection import pages
from app.collection.settle import settle
from app.context import Connection, HandlerContext
from app.engine.effects.calls import live
from app.errors import Conflict
from events import Event
from events.collection import PageCompleted, PageRequested

DISCARDED = "discarded"


def open_pages(connection: Connection, requested: Sequence[Event[PageRequested]]) -> dict[UUID, UUID]:
    """Return the ids of the pages that still wait for the results of requests, by the request's event id."""
    found = pages.find(connection, {event.data.page_id for event in requested})
    return {
        event.id: page.id
        for event in requested
        if (page := found.get(event.data.page_id))
        and page.is_open
        and (page.run_id, page.org_id, page.attempt) == (event.data.run_id, event.tenantid, event.data.attempt)
    }


def discard(context: HandlerContext, requested: Sequence[Event[PageRequested]], why: str) -> list[Event[Any]]:
    """Fail the pages of discarded requests and release their reservations. Returns the events to publish.

    If the marketplace has charged such a page, the run's books do not show it: record the result instead. Raises
    `Conflict` for a page whose call is in progress.
    """
    locked = pages.lock(context.connection, {event.data.page_id for event in requested})
    if running := live(context.connection, [pages.call_key(event) for event in requested]):
        raise Conflict(f"pages: the calls of {len(running)} of them are in progress, so wait for the results")
    said = [
        (event, _failed(event, why))
        for event in requested
        if (page := locked.get(event.data.page_id)) is not None and page.attempt == event.data.attempt
    ]
    return settle(context, said)


def _failed(event: Event[PageRequested], why: str) -> PageCompleted:
    asked = event.data
    return PageCompleted(
        run_id=asked.run_id,
        page_id=asked.page_id,
        attempt=asked.attempt,
        status="failed",
        error_code=DISCARDED,
        error_message=why,
    )
