"""Handlers of the events of runs. Each event that may free or need a place starts the runs that wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from app.collection import places, store
from app.context import Connection, HandlerContext
from app.errors import FailingEvents
from events import Event, collection

STARTING = frozenset({collection.JobSubmitted, collection.RunPaused, collection.JobCompleted})
"""The types whose handlers start waiting runs."""
_OF_PAGES = collection.PageRequested | collection.PageCompleted


def job_submitted(context: HandlerContext, submitted: Sequence[Event[collection.JobSubmitted]]) -> Iterable[Event[Any]]:
    """Start waiting runs, among them the submitted ones if there are places. Returns the requests of their pages.

    Raises `FailingEvents` for a run that does not exist or belongs to another organisation.
    """
    owners = store.owners(context.connection, [event.data.run_id for event in submitted])
    foreign = {
        event.id: f"run {event.data.run_id} is not of this organisation"
        for event in submitted
        if event.tenantid is None or owners.get(event.data.run_id) != event.tenantid
    }
    if foreign:
        raise FailingEvents(foreign)
    return places.start_waiting(context, _tenants(submitted))


def place_freed(context: HandlerContext, said: Sequence[Event[Any]]) -> Iterable[Event[Any]]:
    """Start waiting runs after a run was paused or has ended. Returns the requests of their pages."""
    return places.start_waiting(context, _tenants(said))


def ignore(_context: HandlerContext, _events: Sequence[Event[Any]]) -> Iterable[Event[Any]]:
    """Do nothing: the events are only recorded in the ledger, for the timeline."""
    return ()


def lock(connection: Connection, events: Sequence[Event[Any]]) -> None:
    """Lock what the handlers of several event types need: places, then runs, each in one order.

    The runs that may start are locked together with those of results, so that no run is locked out of order.
    """
    starting = [event for event in events if type(event.data) in STARTING]
    startable = places.lock(connection, _tenants(starting))
    settled = (run_id for event in events if (run_id := run_of(event)) is not None)
    store.lock_runs(connection, {*startable, *settled})


def place_of(event: Event[Any]) -> UUID | None:
    """Return the id of the place that an event's handler locks: its organisation's; None if it locks none."""
    return event.tenantid if type(event.data) in STARTING else None


def run_of(event: Event[Any]) -> UUID | None:
    """Return the id of the run that an event changes; None if its handler only starts runs."""
    return event.data.run_id if isinstance(event.data, _OF_PAGES | collection.ItemCompleted) else None


def page_of(event: Event[Any]) -> UUID | None:
    """Return the id of the page that an event changes; None if it changes none."""
    return event.data.page_id if isinstance(event.data, _OF_PAGES) else None


def _tenants(said: Iterable[Event[Any]]) -> set[UUID]:
    return {event.tenantid for event in said if event.tenantid is not None}
