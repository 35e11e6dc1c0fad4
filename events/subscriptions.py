"""Subscriptions: the type of event under which a subscriber is given the events of another type.

A subscription is an event type of its own, `SUBSCRIBER:TYPE`, with the payload of its source. So a program of an older
version, or without the subscriber, does not know the type, and lets such an event wait. Under the source's own type,
marked with an attribute, it would keep the attribute unread and apply the event as its owner a second time.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid5

from events.base import KINDS, Event, Payload, event_type


def subscription(subscriber: str, source: type[Payload], *, sequenced: bool) -> type[Payload]:
    """The payload class of what `subscriber` is given of `source`'s events; it is registered once.

    It is a subclass of `source`, of the same version and with the same upcasters. `sequenced`: as of `event_type()`.
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
    """The event of the subscription `copied` that gives `event` to the subscriber.

    It has an id of its own, derived from the event's and the subscription's; the same data, source, subject, tenant,
    time and extension attributes; and the event as its cause. A sequenced event without a subject becomes its own.
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
        # Valid already: it was read as the source's.
        data=copied.model_construct(_fields_set=event.data.model_fields_set, **dict(event.data)),
    )
