"""Wiring: the types by which domains declare handlers, forecasts and locks, and the lookup of the wiring.

`app.engine.effect` declares effects. The engine imports no domain. The entry point of each process installs the wiring
(`app.startup`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql

from app.context import Connection, HandlerContext
from app.engine.effect import Call, ConcurrencyLimit, Effect, FailedCall, Policy, Prepared, QueuePaused
from app.engine.installed import installed
from app.engine.retention import Rule
from app.engine.routing import EFFECTS_PRIORITY, EVENTS_PRIORITY, EVENTS_QUEUE, MOST_IN_A_ROW, Route, share_name
from events import Event, Payload
from events.contracts import Served

__all__ = [
    "Call",
    "ConcurrencyLimit",
    "Effect",
    "FailedCall",
    "Forecast",
    "Forecaster",
    "Handler",
    "Interest",
    "Invariant",
    "Lockable",
    "Policy",
    "Prepared",
    "QueuePaused",
    "Wiring",
    "use",
    "wiring",
]

Handler = Callable[[HandlerContext, list[Event[Any]]], Iterable[Event[Any]]]
"""Apply a list of events of one type to the database. Returns the events to publish. Makes no outside calls."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected outcome of delivering an event now: ids of items it would change, and of jobs whose counters change.

    `idle`: why a delivery would change nothing. `blocked`: why the event must not be delivered now.
    """

    items: frozenset[UUID] = frozenset()
    jobs: frozenset[UUID] = frozenset()
    idle: str | None = None
    blocked: str | None = None


Forecaster = Callable[[Connection, Sequence[Event[Any]]], Mapping[UUID, Forecast]]
"""Return the forecast of each event of one type, by the event's id. Changes nothing."""

Interest = Callable[[Connection, Sequence[Event[Any]]], Collection[UUID]]
"""Return the ids of those events, all of one type, that a subscriber gets. Runs in the commit that applies them."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A condition that holds at every commit. `statement`: a query that returns the rows that violate it."""

    name: str
    statement: LiteralString | sql.Composed


@dataclass(frozen=True, slots=True)
class Lockable:
    """A table whose rows handlers and effects lock, by their column `id`.

    `id_of`: return the row's id from an event, or None if the event names none. `look_up`: query the ids of rows that
    events do not name, by event id, without locks.
    """

    schema: str
    table: str
    id_of: Callable[[Event[Any]], UUID | None]
    look_up: Callable[[Connection, Sequence[Event[Any]]], Mapping[UUID, UUID]] | None = None

    @property
    def name(self) -> str:
        """The table's qualified name."""
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True)
class Wiring:
    """Handlers, effects and forecasts by payload type, and the tables that they need.

    `locks`: functions that `lock()` runs. `lockables`: tables whose rows events need locked, in lock order; if another
    session holds such a row for long, the events that need it are set aside together. `tables`: qualified names of
    tables without which a worker does not start. `schemas`: schemas of the domains; a worker does not start if a table
    in them lacks forced row-level security. `migrations`: directories of domains in separate packages, by domain.
    `subscriptions`: by payload type, the payload types of the copies that subscribers get (`app.engine.subscribers`).
    Each copy has a handler or an effect, like any other event. `interests`: which events a subscriber gets, by the
    payload type of its copies; without an entry: all. `retention`: rows that `prune` deletes.
    `owners`: the domain's name, by payload type.
    """

    handlers: Mapping[type[Payload], Handler]
    effects: Mapping[type[Payload], Effect]
    forecasts: Mapping[type[Payload], Forecaster] = field(default_factory=dict)
    locks: Sequence[Callable[[Connection, Sequence[Event[Any]]], None]] = ()
    lockables: Sequence[Lockable] = ()
    tables: Sequence[str] = ()
    schemas: Sequence[str] = ()
    migrations: Mapping[str, Path] = field(default_factory=dict)
    subscriptions: Mapping[type[Payload], Sequence[type[Payload]]] = field(default_factory=dict)
    retention: Sequence[Rule] = ()
    interests: Mapping[type[Payload], Interest] = field(default_factory=dict)
    owners: Mapping[type[Payload], str] = field(default_factory=dict)

    def lock(self, connection: Connection, events: Sequence[Event[Any]]) -> None:
        """Lock the rows that handlers of several event types need, in one order, to prevent deadlocks."""
        for lock in self.locks:
            lock(connection, events)

    def __post_init__(self) -> None:
        """Raise `TypeError` if an effect's payload is sequenced, because calls run concurrently."""
        if sequenced := [payload.type for payload in self.effects if payload.sequenced]:
            message = f"effects cannot be sequenced: {', '.join(sequenced)}"
            raise TypeError(message)

    def route(self, event: Event[Any]) -> Route:
        """Return the route of an event. Raises `LookupError` if its type has no handler or effect."""
        effect = self.effects.get(type(event.data))
        if effect is not None:
            share = share_name(event.tenantid, getattr(event.data, effect.account) if effect.account else None)
            return Route(effect.queue, EFFECTS_PRIORITY, effect.batch_size, effect_of=event.type, share=share)
        if type(event.data) in self.handlers:
            return _HANDLED
        message = f"no domain serves {event.type}: this process has no handler or effect for it (TALLYMAN_DOMAINS)"
        raise LookupError(message)

    def share(self, event: Event[Any]) -> str | None:
        """Return the name of the share that an effect's event counts against; None for a handler's event."""
        return self.route(event).share if type(event.data) in self.effects else None

    def owner(self, payload: type[Payload]) -> str:
        """Return the domain that serves a type. In a wiring that no domain declared: the type's part before "/"."""
        return self.owners.get(payload) or payload.type.partition("/")[0]

    def served(self) -> dict[str, Served]:
        """Return the queue of each event type, and whether a handler or an effect serves it."""
        handled = {payload.type: Served(EVENTS_QUEUE, "handler") for payload in self.handlers}
        return handled | {payload.type: Served(effect.queue, "effect") for payload, effect in self.effects.items()}

    def call_keys(self, events: Sequence[Event[Any]]) -> dict[UUID, UUID]:
        """Return the keys of the calls of effects' events, by the event's id. Leaves out handlers' events."""
        effects = {event.id: self.effects.get(type(event.data)) for event in events}
        return {event.id: effect.key(event) for event in events if (effect := effects[event.id])}

    def queues(self) -> list[str]:
        """Return the names of all queues that a worker can serve, sorted."""
        return sorted({EVENTS_QUEUE, *self.effect_queues()})

    def effect_queues(self) -> list[str]:
        """Return the names of the queues of effects, sorted."""
        return sorted({effect.queue for effect in self.effects.values()})


_HANDLED = Route(EVENTS_QUEUE, EVENTS_PRIORITY, MOST_IN_A_ROW)
"""The route of every event with a handler: one object, so that `publish()` can compare by identity."""


_chosen: list[Wiring] = []


def wiring() -> Wiring:
    """Return the current wiring: the one that `use()` chose last, else the installed one. Raises `SetupError`."""
    if _chosen:
        return _chosen[-1]
    found: Wiring = installed()
    return found


@contextmanager
def use(chosen: Wiring) -> Iterator[None]:
    """Use another wiring within the `with` block, for example to test handlers of another program."""
    _chosen.append(chosen)
    try:
        yield
    finally:
        # This one: an equal wiring may be in use outside.
        del _chosen[max(place for place, one in enumerate(_chosen) if one is chosen)]
