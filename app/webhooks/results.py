"""Outcomes of deliveries: accepted, failed, and given up by an operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.context import Connection, HandlerContext
from app.engine.domain import FailedCall
from app.engine.effects.calls import live
from app.errors import Conflict, FailingEvents
from app.settings import settings
from app.webhooks import store
from app.webhooks.sender import EndpointBusy, EndpointError, EndpointGone
from app.webhooks.store import Attempt, Delivery
from events import Event
from events.webhook import DeliveryCompleted, DeliveryRequested

_ERROR_CHARS = 500


def completed(context: HandlerContext, said: Sequence[Event[DeliveryCompleted]]) -> Iterable[Event[Any]]:
    """Record accepted deliveries. Raises `FailingEvents` for those of another tenant or endpoint."""
    connection = context.connection
    found = store.lock(connection, {event.data.delivery_id for event in said})
    check(found, said)
    fresh = {event.data.delivery_id: event.data for event in said if found[event.data.delivery_id].is_open}
    store.delivered(connection, [Attempt(one.delivery_id, one.status, one.answer, None) for one in fresh.values()])
    if failing := store.lock_failing(connection, {event.data.endpoint_id for event in said}):
        store.recovered(connection, failing)
    return ()


def failed(context: HandlerContext, calls: Sequence[FailedCall]) -> Iterable[Event[Any]]:
    """Record failed attempts, and disable endpoints that are gone or have been failing for days."""
    connection = context.connection
    store.lock(connection, {call.event.data.delivery_id for call in calls})
    # Any other error is not the endpoint's: a lost database connection, a missing sealing key.
    sent = [call for call in calls if isinstance(call.error, EndpointError) and call.error.was_tried]
    if unsent := [call for call in calls if call not in sent]:
        store.unsent(connection, [_attempt(call) for call in unsent])
    if sent:
        store.failed(connection, [_attempt(call) for call in sent])
        gone = {call.event.data.endpoint_id for call in sent if isinstance(call.error, EndpointGone)}
        store.failing(connection, {call.event.data.endpoint_id for call in sent}, gone, settings().webhook_failing_days)
    return ()


def open_deliveries(connection: Connection, requested: Sequence[Event[DeliveryRequested]]) -> dict[UUID, UUID]:
    """Return the ids of the deliveries that still wait for the results of requests, by the request's event id."""
    found = store.read(connection, {event.data.delivery_id for event in requested})
    return {
        event.id: one.id
        for event in requested
        if (one := found.get(event.data.delivery_id)) is not None and one.is_open
    }


def discard(context: HandlerContext, requested: Sequence[Event[DeliveryRequested]], why: str) -> list[Event[Any]]:
    """Give up the deliveries of discarded requests. Raises `Conflict` for one that is being sent."""
    store.lock(context.connection, {event.data.delivery_id for event in requested})
    if sending := live(context.connection, [event.id for event in requested]):
        raise Conflict(f"deliveries: {len(sending)} of them are being sent, so wait for the results")
    store.discard(context.connection, {event.data.delivery_id for event in requested}, why)
    return []


def lock(connection: Connection, events: Sequence[Event[Any]]) -> None:
    """Lock what `completed` needs, for a delivery of several event types."""
    said = [event.data for event in events if isinstance(event.data, DeliveryCompleted)]
    if said:
        store.lock(connection, {one.delivery_id for one in said})
        store.lock_failing(connection, {one.endpoint_id for one in said})


def check(found: Mapping[UUID, Delivery], said: Sequence[Event[Any]]) -> None:
    """Raise `FailingEvents` for events whose delivery does not exist, or is another tenant's or endpoint's."""
    mismatched = {
        event.id: f"delivery {event.data.delivery_id} is not of endpoint {event.data.endpoint_id} of this tenant"
        for event in said
        if (one := found.get(event.data.delivery_id)) is None
        or (one.endpoint_id, one.tenant_id) != (event.data.endpoint_id, event.tenantid)
    }
    if mismatched:
        raise FailingEvents(mismatched)


def _attempt(call: FailedCall) -> Attempt:
    error = call.error
    status, answer = (error.status, error.answer) if isinstance(error, EndpointError) else (None, "")
    why = (str(error) or type(error).__name__)[:_ERROR_CHARS].replace("\x00", "")
    is_counted = not isinstance(error, EndpointBusy)
    return Attempt(call.event.data.delivery_id, status, answer, why, is_counted=is_counted, is_dead=call.is_dead)
