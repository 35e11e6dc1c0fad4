"""The envelope of events, and the registry of event types.

An event is a CloudEvents 1.0 object. `Event` is that object, typed by its payload. A payload class is registered with
`@event_type("robot/item.completed")`. A new version of a payload needs an upcaster from the previous version, so that
stored events of all versions can be read.
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
"""Most bytes of one event's JSON."""

_LONGER = 1024


class InvalidEvent(ValueError):
    """A value is not a valid event. The message names the field and the problem."""


class Payload(BaseModel):
    """The base class of event data. Immutable; unknown fields are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    version: ClassVar[int]
    sequenced: ClassVar[bool] = False
    """Whether a subject's events of this type are applied in the order in which they were published."""


P_co = TypeVar("P_co", bound=Payload, covariant=True)
P = TypeVar("P", bound=Payload)
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Event(BaseModel, Generic[P_co]):
    """An event: CloudEvents 1.0 attributes and a payload.

    `id`: a UUIDv7 for a new event, a UUIDv5 of its cause for a derived event. `subject`: the job or order of the
    event. `causationid`: the event that caused it. `correlationid`: the first event of the chain. An event with
    extension attributes has a class of `extended()`.
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
        """The version of the payload's schema with which the event was published."""
        return int(self.dataschema.rpartition("/")[2])

    def follow(
        self, payload: P, now: datetime, *, key: str = "", subject: UUID | None = None, event_id: UUID | None = None
    ) -> Event[P]:
        """Return an event with `payload` that this event causes.

        Its id is derived from this event's id, the payload's type and `key`, so a second delivery of this event creates
        the same event. Give a `key` if this event causes several events of one type. Give an `event_id` if the fact
        itself determines the id, independent of its cause.
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
        """Return the event as UTF-8 JSON, without attributes that are None."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


def new(
    payload: P, *, now: datetime, subject: UUID | None, tenant: UUID | None, event_id: UUID | None = None
) -> Event[P]:
    """Return a new event without a cause. Give an `event_id` only if the fact itself determines the id."""
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
    """Return a new time-ordered UUIDv7."""
    return UUID(int=uuid7().int)


def _source(payload: Payload) -> str:
    return f"tallyman/{payload.type.partition('/')[0]}"


def extended(event: type[Event[P]]) -> type[Event[P]]:
    """Return the class of events with extension attributes of their producers, in `model_extra`.

    It is a separate class, because extension attributes slow down validation and few events have them. `follow()` does
    not copy extension attributes.
    """

    class Extended(event):  # type: ignore[valid-type,misc]
        model_config = ConfigDict(extra="allow")
        __pydantic_extra__: dict[ExtensionName, ExtensionValue] = Field(init=False)

    return Extended


@dataclass(slots=True)
class Kind:
    """An event type: its current payload, its event classes, and the upcasters from older versions."""

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
        """Convert `data` of an older version to the current version.

        Raises `InvalidEvent` if an upcaster is missing, and any error of an upcaster.
        """
        current = dict(data)
        for step in range(version, self.payload.version):
            if step not in self.upcasters:
                message = f"dataschema: version {version} cannot be read: no upcaster from version {step} to {step + 1}"
                raise InvalidEvent(message)
            current = self.upcasters[step](current)
        return current


KINDS: dict[str, Kind] = {}
"""All event types that this program knows, by name."""


def event_type(name: str, *, version: int = 1, sequenced: bool = False) -> Callable[[type[P]], type[P]]:
    """Register a payload class for events of type `name`, with its newest `version`.

    `sequenced`: events of this type are applied in the order of publishing, for each subject. While one of them is put
    back or dead, the later ones wait. Such events need a subject and a handler; effects cannot be sequenced.
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
    """Register a pure function that converts `data` of version `since` to the next version."""

    def register(function: Upcaster) -> Upcaster:
        KINDS[payload.type].upcasters[since] = function
        return function

    return register


def envelope(payload: P) -> type[Event[P]]:
    """Return the event class of a payload."""
    return KINDS[payload.type].event
