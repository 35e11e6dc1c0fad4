"""Dead requests of pages: which pages wait for them, and what becomes of a page when its request is given up.

A request that was dead-lettered after its call had begun may be charged: its page is still reserved. Such a page is
never settled without an answer. Its request goes back into the queue, and a worker asks the marketplace by reference.
A charged page is used and booked in any state of its run, up to the cap and beyond it as `overrun`. A page that was not
charged fails, or is cancelled with its run. It is not bought.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from app.collection import page_ids, pages
from app.collection.settle import settle
from app.context import Connection, Context, HandlerContext
from app.engine.dead_letters import closing
from app.engine.effects.calls import live
from app.errors import Conflict
from events import Event
from events.collection import PageCompleted, PageRequested

DISCARDED = "discarded"

_DISCARD = "UPDATE collection.collection_pages SET discard_reason = %s WHERE id = ANY(%s)"


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
    """Fail the pages of discarded requests. Returns the events to publish.

    A page whose call has begun fails later: its request is among the events, so that a worker first asks for the
    charge. Raises `Conflict` for a page whose call is in progress.
    """
    connection = context.connection
    locked = pages.lock(connection, {event.data.page_id for event in requested})
    if running := live(connection, [page_ids.call_key(event) for event in requested]):
        raise Conflict(f"pages: the calls of {len(running)} of them are in progress, so wait for the results")
    in_doubt = may_be_charged(connection, requested)
    asked = {event.data.page_id for event in in_doubt}
    connection.execute(_DISCARD, [why, list(asked)])
    said = [
        (event, _failed(event, why))
        for event in requested
        if event.data.page_id not in asked
        and (page := locked.get(event.data.page_id)) is not None
        and page.attempt == event.data.attempt
    ]
    return [*in_doubt, *settle(context, said)]


def may_be_charged(connection: Connection, requested: Collection[Event[PageRequested]]) -> list[Event[PageRequested]]:
    """Return those of some requests whose pages wait for a result and whose calls have begun."""
    found = pages.find(connection, {event.data.page_id for event in requested})
    waiting = open_pages(connection, list(requested))
    return [event for event in requested if event.id in waiting and found[event.data.page_id].status == "processing"]


def hold(context: Context, run_id: UUID) -> closing.Held:
    """Lock the open dead requests of a run's pages. Call this before the run is locked; then `closing.close()`."""

    def is_meant(event: Event[Any]) -> bool:
        return event.tenantid == context.tenant_id and event.data.run_id == run_id

    return closing.hold(context.connection, PageRequested, run_id, is_meant)


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
