"""Wiring: the types by which domains declare handlers, effects, forecasts and locks, and the lookup of what is wired.

The engine imports no domain. The entry point of each process installs the wiring (`app.startup`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql

from app.context import Connection, HandlerContext
from app.engine.installed import installed
from app.engine.routing import EFFECTS_PRIORITY, EVENTS_PRIORITY, EVENTS_QUEUE, MOST_IN_A_ROW, Route, share_name
from app.errors import SetupError
from events import KINDS, Event, Payload
from events.contracts import Served

Handler = Callable[[HandlerContext, list[Event[Any]]], Iterable[Event[Any]]]
"""Apply a list of events of one type to the database. Returns the events to publish. Makes no outside calls."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Capped exponential backoff with jitter. `base` and `cap`: seconds. `most_attempts`: deliveries of an event."""

    most_attempts: int = 6
    base: float = 2.0
    cap: float = 300.0

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait after delivery number `attempt` (from 0).

        Between half and all of `min(cap, base * 2 ** attempt)`. `chance`: a random number in [0, 1).
        """
        ceiling = min(self.cap, self.base * 2.0**attempt)
        return ceiling / 2 + ceiling / 2 * chance

    def is_last(self, attempt: int) -> bool:
        """Whether a transient error in delivery number `attempt` (from 0) is final."""
        return attempt + 1 >= self.most_attempts


@dataclass(frozen=True, slots=True, order=True)
class ConcurrencyLimit:
    """A concurrency limit over all workers: at most `most` calls with the same `key` run at once."""

    key: str
    most: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """An effect's event that still needs its call. `work`: the data that the call needs."""

    event: Event[Any]
    work: Any = field(repr=False)


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


class QueuePaused(Exception):
    """The queue was paused before the call began. The event waits again, and the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Call:
    """The engine's context of one outside call.

    `in_doubt`: an earlier delivery began this call and recorded no outcome, so ask the other side first. `attempt`: the
    number of the delivery, from 0. `is_last`: a transient error in this delivery is final. An effect whose call takes
    several steps awaits `still_mine()` right before the irreversible step. `still_mine()` raises if the lease was lost
    or the queue was paused; the effect must not catch that error. It returns the current result of the effect's
    `recheck` for the event.
    """

    in_doubt: bool
    attempt: int
    is_last: bool
    still_mine: Callable[[], Awaitable[Any]] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Effect:
    """How to make the outside calls of one type of event.

    prepare       select the events that still need a call, in the claiming transaction, and mark them as begun; leave
                  out an event whose call another event with the same key has made
    call          make one call, outside any transaction; returns the payload of the result event
    limits        concurrency limits by event id; an event without an entry has no limit
    give_up       the result's payload if the last attempt failed with a transient error; without it the event becomes
                  a dead letter
    close         close connections when a worker stops
    ask           ask the other side about events whose calls are in doubt; returns its answers as text, by event id
    revive        reopen dead requests; returns the event of the next attempt, by the dead event's id; leaves out events
                  that were overtaken
    call_key      the key of an event's call, equal for all events that may request the same call, such as an attempt
                  at an item; calls with one key never run concurrently, and a later event with the key is in doubt if
                  the call may have been made; default: the event's id, which an edited copy takes over
    recheck       read again, by event id, what may have changed since `prepare` and forbid the call; `still_mine()`
                  returns it, and the effect awaits `still_mine()` before every irreversible step; without `recheck`
                  the engine checks the lease and pauses before it calls
    open_         the id of the object, such as an item, that still waits for the outcome of a dead event, by event id;
                  such a letter cannot be resolved by hand without a result
    discard       end the objects that wait for discarded events, with a reason; returns the events to publish
    can_be_asked  whether the other side can be asked about a call in doubt
    grace_period  seconds to wait before the other side is asked about a call that failed in the middle, because the
                  other side may still be processing it
    account       the field of the event's data that names the tenant's account; tenants share a worker's deliveries
                  equally or by weight, and the accounts of a tenant share the tenant's part; without it, or if the
                  field is empty, a tenant is one account
    batch_size    most events in one delivery
    at_once       most concurrent calls of one delivery
    policy        retry policy; default: the worker's
    result        the payload type that `call` returns; needed to record the result of a call in doubt by hand
    """

    queue: str
    prepare: Callable[[HandlerContext, Sequence[Event[Any]]], Iterable[Prepared]]
    call: Callable[[Prepared, Call], Awaitable[Payload]]
    limits: Callable[[Connection, Sequence[Event[Any]]], Mapping[UUID, ConcurrencyLimit]] | None = None
    give_up: Callable[[Prepared, Exception], Payload] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    ask: Callable[[Sequence[Event[Any]]], Awaitable[Mapping[UUID, str]]] | None = None
    revive: Callable[[HandlerContext, Sequence[Event[Any]]], Mapping[UUID, Event[Any]]] | None = None
    call_key: Callable[[Event[Any]], UUID] | None = None
    recheck: Callable[[Connection, Sequence[Prepared]], Mapping[UUID, Any]] | None = None
    open_: Callable[[Connection, Sequence[Event[Any]]], Mapping[UUID, UUID]] | None = None
    discard: Callable[[HandlerContext, Sequence[Event[Any]], str], Iterable[Event[Any]]] | None = None
    can_be_asked: bool = True
    grace_period: Callable[[], float] = field(default=lambda: 0.0)
    account: str | None = None
    batch_size: int = 25
    at_once: int = 8
    policy: Policy | None = None
    result: type[Payload] | None = None

    def key(self, event: Event[Any]) -> UUID:
        """Return the key of an event's call: by `call_key`, else the event's id."""
        return self.call_key(event) if self.call_key else event.id


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
    Each copy has a handler or an effect, like any other event.
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
        message = (
            f"nobody serves {event.type}: no domain of this process has a handler or effect for it (TALLYMAN_DOMAINS)"
        )
        raise LookupError(message)

    def share(self, event: Event[Any]) -> str | None:
        """Return the name of the share that an effect's event counts against; None for a handler's event."""
        return self.route(event).share if type(event.data) in self.effects else None

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


def merged(
    wirings: Iterable[Wiring],
    *,
    tables: Sequence[str] = (),
    schemas: Sequence[str] = (),
    migrations: Mapping[str, Path] | None = None,
) -> Wiring:
    """Merge wirings into one.

    Raises `SetupError` if two of them serve the same event type or declare subscribers of the same name, and for a
    subscriber to a type that has no handler.
    """
    handlers: dict[type[Payload], Handler] = {}
    effects: dict[type[Payload], Effect] = {}
    parts = list(wirings)
    subscriptions = _subscriptions(parts)
    for part in parts:
        if twice := [one.type for one in (*part.handlers, *part.effects) if one in handlers or one in effects]:
            raise SetupError(f"event type {twice[0]!r} is served twice: an event type has one handler or effect")
        handlers.update(part.handlers)
        effects.update(part.effects)
    for source in subscriptions:
        if source not in handlers:
            raise SetupError(
                f"subscriber {_subscriber(subscriptions[source][0])}: {source.type} has no handler in this program, so"
                " nobody owns its events; subscribe to a type that has one (of an effect: to its result's type)"
            )
    return Wiring(
        handlers=handlers,
        effects=effects,
        forecasts={payload: forecast for part in parts for payload, forecast in part.forecasts.items()},
        locks=[lock for part in parts for lock in part.locks],
        lockables=[one for part in parts for one in part.lockables],
        tables=tables,
        schemas=schemas,
        migrations=migrations or {},
        subscriptions=subscriptions,
    )


def _subscriptions(parts: Iterable[Wiring]) -> dict[type[Payload], tuple[type[Payload], ...]]:
    """The subscriptions of some wirings. Raises `SetupError` for two subscribers with one name."""
    found: dict[type[Payload], tuple[type[Payload], ...]] = {}
    names: set[str] = set()
    for part in parts:
        own = {_subscriber(copied) for copies in part.subscriptions.values() for copied in copies}
        if twice := sorted(own & names):
            raise SetupError(f"subscriber {twice[0]} is declared twice: each has a name of its own; rename one")
        names |= own
        for source, copies in part.subscriptions.items():
            found[source] = (*found.get(source, ()), *copies)
    return found


def _subscriber(copied: type[Payload]) -> str:
    return str(KINDS[copied.type].subscriber)


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
