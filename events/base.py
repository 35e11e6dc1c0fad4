"""The envelope: what every event carries, whatever it says.

An event on the wire is a CloudEvents 1.0 object; `Event` is that object, typed by its payload. Payload classes
register themselves with `@event_type("robot/item.completed")`; a newer version of a payload brings an upcaster from
the one before it, so that stored events of any age can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, Literal, TypeVar
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from uuid6 import uuid7

from events.attributes import ExtensionName, ExtensionValue, JsonContentType

SIZE_LIMIT = 256 * 1024
"""Bytes of JSON that one event may take."""

_LONGER = 1024


class InvalidEvent(ValueError):
    """Something that is no event of this program; the message names the field and what is wrong with it."""


class Payload(BaseModel):
    """What an event says: immutable, and without a field that its class does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    version: ClassVar[int]
    sequenced: ClassVar[bool] = False
    """Whether a subject's events of this type are applied in the order in which they were published."""


P_co = TypeVar("P_co", bound=Payload, covariant=True)
P = TypeVar("P", bound=Payload)
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Event(BaseModel, Generic[P_co]):
    """A fact that was said once: CloudEvents 1.0 attributes around a payload.

    `id` is a UUIDv7 for a new fact and a UUIDv5 of its cause for a derived one; `subject` is the job or order that
    the event is about; `causationid` the event it followed from and `correlationid` the first of the chain.
    An event with extension attributes is an `extended()` one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: str
    type: str
    datacontenttype: JsonContentType | None = None
    dataschema: str
    subject: UUID | None = None
    time: AwareDatetime
    tenantid: UUID | None = None
    causationid: UUID | None = None
    correlationid: UUID | None = None
    traceparent: str | None = None
    data: P_co

    @property
    def version(self) -> int:
        """The version of the payload's schema, as it was published."""
        return int(self.dataschema.rpartition("/")[2])

    def follow(
        self, payload: P, now: datetime, *, key: str = "", subject: UUID | None = None, event_id: UUID | None = None
    ) -> Event[P]:
        """The event that says `payload` because of this one.

        Its id is derived from this event's, the payload's type and `key` (needed when one cause has several
        consequences of one type), so a cause that is delivered twice cannot say two things. `event_id` is given
        where the fact itself determines it, whichever event brought it about.
        """
        return envelope(payload)(
            id=event_id or uuid5(self.id, f"{payload.type}:{key}"),
            source=_source(payload),
            type=payload.type,
            dataschema=f"{payload.type}/{payload.version}",
            subject=subject or self.subject,
            time=now,
            tenantid=self.tenantid,
            causationid=self.id,
            correlationid=self.correlationid or self.id,
            traceparent=self.traceparent,
            data=payload,
        )

    def json_bytes(self) -> bytes:
        """The event as it goes over the wire: UTF-8 JSON without the attributes that are absent."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


def new(
    payload: P, *, now: datetime, subject: UUID | None, tenant: UUID | None, event_id: UUID | None = None
) -> Event[P]:
    """A new fact. `event_id` is given only where the fact itself determines it."""
    return envelope(payload)(
        id=event_id or new_id(),
        source=_source(payload),
        type=payload.type,
        dataschema=f"{payload.type}/{payload.version}",
        subject=subject,
        time=now,
        tenantid=tenant,
        data=payload,
    )


def new_id() -> UUID:
    """A time-ordered UUIDv7."""
    return UUID(int=uuid7().int)


def _source(payload: Payload) -> str:
    return f"tallyman/{payload.type.partition('/')[0]}"


def extended(event: type[Event[P]]) -> type[Event[P]]:
    """The class of events that carry extension attributes of their producers, in `model_extra`.

    A class of its own, because every event would pay for attributes that few have. An event that follows does not take
    them over.
    """

    class Extended(event):  # type: ignore[valid-type,misc]
        model_config = ConfigDict(extra="allow")
        __pydantic_extra__: dict[ExtensionName, ExtensionValue] = Field(init=False)

    return Extended


@dataclass(slots=True)
class Kind:
    """One type of event: its current payload, how to read a list of them, and the upcasters from older versions."""

    payload: type[Payload]
    event: type[Event[Any]]
    events: TypeAdapter[list[Event[Any]]]
    extended: type[Event[Any]]
    upcasters: dict[int, Upcaster] = field(default_factory=dict)
    subscriber: str | None = None
    source: str | None = None
    """Of a subscription's type: who is given its events, and the type that they are copies of."""

    @property
    def size_limit(self) -> int:
        """Bytes of JSON that an event takes at most. A copy for a subscriber has longer attributes than its source."""
        return SIZE_LIMIT if self.subscriber is None else SIZE_LIMIT + _LONGER

    def upcast(self, version: int, data: Mapping[str, Any]) -> dict[str, Any]:
        """`data` of an older version, as the current version would have said it.

        Raises `InvalidEvent` where the way is interrupted, and whatever an upcaster raises at data that it cannot read.
        """
        current = dict(data)
        for step in range(version, self.payload.version):
            if step not in self.upcasters:
                message = f"dataschema: version {version} cannot be read: no upcaster from version {step} to {step + 1}"
                raise InvalidEvent(message)
            current = self.upcasters[step](current)
        return current


KINDS: dict[str, Kind] = {}
"""Every type of event that this program knows."""


def event_type(name: str, *, version: int = 1, sequenced: bool = False) -> Callable[[type[P]], type[P]]:
    """Register a payload class as what events of type `name` say, in its newest `version`.

    A subject's `sequenced` events of this type are applied in the order of their publication: while one of them is
    put back or dead, the later ones wait behind it. Such an event needs a subject, and a handler: no effect is
    carried out in order.
    """

    def register(payload: type[P]) -> type[P]:
        if name in KINDS:
            message = f"two payloads for {name}: {KINDS[name].payload.__name__} and {payload.__name__}"
            raise TypeError(message)
        payload.type, payload.version, payload.sequenced = name, version, sequenced
        event = Event[payload]  # type: ignore[valid-type]
        KINDS[name] = Kind(payload, event, TypeAdapter(list[event]), extended(event))
        return payload

    return register


def upcaster(payload: type[Payload], *, since: int) -> Callable[[Upcaster], Upcaster]:
    """Register the pure function that turns `data` of version `since` into `data` of the next version."""

    def register(function: Upcaster) -> Upcaster:
        KINDS[payload.type].upcasters[since] = function
        return function

    return register


def envelope(payload: P) -> type[Event[P]]:
    """The event class for a payload."""
    return KINDS[payload.type].event
