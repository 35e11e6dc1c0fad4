"""Fan out: make a delivery of each published event for each endpoint that wants it.

The events arrive as copies of a subscriber. Only events of tenants with such an endpoint are copied, so an event of any
other tenant costs its part of one query a delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.context import Connection, HandlerContext
from app.engine.subscribers import subscriber
from app.webhooks import rules, store
from app.webhooks.store import NewDelivery
from events import KINDS, Event, Payload
from events.webhook import DeliveryRequested

NAME = "webhooks/outgoing"
"""The subscriber. Its copies have the types `webhooks/outgoing:TYPE`."""


def interest(connection: Connection, applied: Sequence[Event[Any]]) -> set[UUID]:
    """Return the ids of the events, all of one type, whose tenant has an endpoint for them."""
    tenants = {event.tenantid for event in applied if event.tenantid is not None}
    if not tenants:
        return set()
    name = rules.public_name(type(applied[0].data))
    wanted = {one.tenant_id for one in store.subscribers(connection, tenants, name)}
    return {event.id for event in applied if event.tenantid in wanted}


def fan_out(context: HandlerContext, copies: Sequence[Event[Any]]) -> Iterable[Event[Any]]:
    """Insert the deliveries of copies, all of one type. Returns the events that request them."""
    connection = context.connection
    name = rules.public_name(_source(type(copies[0].data)))
    tenants = {event.tenantid for event in copies if event.tenantid is not None}
    endpoints = store.subscribers(connection, tenants, name)
    made = {
        rules.delivery_id(one.id, _original(event)): (event, one.id)
        for event in copies
        for one in endpoints
        if one.tenant_id == event.tenantid
    }
    fresh = store.add(connection, list(_deliveries(name, made)))
    for delivery_id, (event, endpoint_id) in made.items():
        if delivery_id in fresh:
            wanted = DeliveryRequested(delivery_id=delivery_id, endpoint_id=endpoint_id)
            yield event.follow(wanted, context.now, key=str(endpoint_id), subject=delivery_id)


def _deliveries(name: str, made: dict[UUID, tuple[Event[Any], UUID]]) -> Iterator[NewDelivery]:
    bodies: dict[UUID, str] = {}
    for delivery_id, (event, endpoint_id) in made.items():
        if event.id not in bodies:
            data = event.data.model_dump(mode="json", exclude_none=True)
            bodies[event.id] = rules.body(name, event.time, data)
        if event.tenantid is not None:
            yield NewDelivery(delivery_id, event.tenantid, endpoint_id, _original(event), name, bodies[event.id])


def _original(event: Event[Any]) -> UUID:
    """Return the id of the event that a copy is of: its cause."""
    return event.causationid or event.id


def _source(copied: type[Payload]) -> type[Payload]:
    """Return the payload class that copies are of."""
    source = KINDS[copied.type].source
    return KINDS[source].payload if source else copied


WIRING = subscriber(
    NAME,
    handlers={payload: fan_out for payloads in rules.PUBLISHED.values() for payload in payloads},
    interest=interest,
)
COPIES: Mapping[type[Payload], type[Payload]] = {source: copied for source, (copied,) in WIRING.subscriptions.items()}
"""The payload classes of the copies, by those of the published events."""
