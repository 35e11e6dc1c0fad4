"""Subscriptions: the event types of the copies that subscribers receive.

A subscription has its own event type, `SUBSCRIBER:TYPE`, and the payload of its source type. An older program, or one
without the subscriber, does not know the type and leaves the event waiting. If copies had the source's type and an
attribute as a mark, such a program would ignore the attribute and apply the event a second time.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid5

from events.base import KINDS, Event, Payload, event_type


def subscription(subscriber: str, source: type[Payload], *, sequenced: bool) -> type[Payload]:
    """Return the payload class of a subscriber's copies of `source`, and register it unless it is registered.

    The class is a subclass of `source` with the same version and upcasters. `sequenced`: see `event_type()`.
    """
    name = f"{subscriber}:{source.type}"
    known = KINDS.get(name)
    if known is not None and issubclass(known.payload, source) and known.payload.sequenced == sequenced:
        return known.payload
    KINDS.pop(name, None)
    copied: type[Payload] = type(source.__name__, (source,), {"__module__": __name__, "__doc__": source.__doc__})
    event_type(name, version=source.version, sequenced=sequenced)(copied)
    KINDS[name].upcasters = KINDS[source.type].upcasters
    KINDS[name].subscriber, KINDS[name].source = subscriber, source.type
    return copied


def copy_for(copied: type[Payload], event: Event[Any]) -> Event[Any]:
    """Return the copy of an event for a subscription. `copied`: the subscription's payload class.

    The copy has an id derived from the event's id and the subscription; the same data, source, subject, tenant, time
    and extension attributes; and the event as its cause. A sequenced event without a subject gets its id as subject.
    """
    kind = KINDS[copied.type]
    envelope = kind.extended if event.model_extra else kind.event
    return envelope(
        **(event.model_extra or {}),
        id=uuid5(event.id, f"subscriber:{copied.type}"),
        source=event.source,
        type=copied.type,
        datacontenttype=event.datacontenttype,
        dataschema=f"{copied.type}/{copied.version}",
        subject=event.subject or (event.id if copied.sequenced else None),
        time=event.time,
        tenantid=event.tenantid,
        causationid=event.id,
        correlationid=event.correlationid or event.id,
        traceparent=event.traceparent,
        # Not validated again: the data was validated as the source's payload.
        data=copied.model_construct(_fields_set=event.data.model_fields_set, **dict(event.data)),
    )
