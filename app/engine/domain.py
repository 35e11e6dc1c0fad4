"""Who serves which event: the types that domains fill in, and how the engine finds what they declare.

The engine knows no domain: the entry point of each process installs the wiring (`app.startup`).
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
from events import Event, Payload
from events.contracts import Served

Handler = Callable[[HandlerContext, list[Event[Any]]], Iterable[Event[Any]]]
"""From a list of events of one type to new state and the events that follow; touches the database alone."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Capped exponential backoff with jitter. `base` and `cap` are seconds; `most_attempts` counts deliveries."""

    most_attempts: int = 6
    base: float = 2.0
    cap: float = 300.0

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds before the delivery after `attempt`: between half and all of the doubled base, `chance` in [0, 1)."""
        ceiling = min(self.cap, self.base * 2.0**attempt)
        return ceiling / 2 + ceiling / 2 * chance

    def is_last(self, attempt: int) -> bool:
        """Whether a transient error in delivery number `attempt` (from 0) is final."""
        return attempt + 1 >= self.most_attempts


@dataclass(frozen=True, slots=True, order=True)
class ConcurrencyLimit:
    """What bounds how many calls run at once over all workers: at most `most` under one `key`."""

    key: str
    most: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """An effect's event that is still wanted, with all that its call needs to know."""

    event: Event[Any]
    work: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What delivering an event now would come to: the items it would change, and the jobs whose counters with them.

    `idle` says why nothing would happen, `blocked` why it must not be tried now.
    """

    items: frozenset[UUID] = frozenset()
    jobs: frozenset[UUID] = frozenset()
    idle: str | None = None
    blocked: str | None = None


Forecaster = Callable[[Connection, Sequence[Event[Any]]], Mapping[UUID, Forecast]]
"""From events of one type to what each would come to, by the event's id; changes nothing."""


class QueuePaused(Exception):
    """The queue was paused: the call is not begun, and its event waits again without having spent an attempt."""


@dataclass(frozen=True, slots=True)
class Call:
    """What the engine knows about one outside call.

    `in_doubt`: an earlier delivery began this very call and never recorded its outcome, so ask the other side first.
    `attempt` counts deliveries from 0; `is_last` says that a transient error now would be final. An effect whose call
    takes several steps awaits `still_mine()` right before the one that cannot be taken back. It raises if the delivery
    was given to another worker meanwhile or the queue was paused, and the effect lets that pass; it returns what the
    effect's `recheck` says of the event at this moment.
    """

    in_doubt: bool
    attempt: int
    is_last: bool
    still_mine: Callable[[], Awaitable[Any]] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Effect:
    """How one type of event is carried to the outside world.

    `limits` tells, by the event's id, what bounds how many of its kind are called at once over all workers; an event
    that it does not name is bounded by nothing. `prepare` runs in the claiming transaction: it marks what is begun and
    leaves out what nobody waits for any more. `call` runs in no transaction and returns what to say of it. `give_up`
    says what is to be said when the last attempt failed with a transient error; without it such an event becomes a
    dead letter. `batch_size` bounds how much one delivery takes on, `at_once` how many of its calls run side by side.
    `ask` tells what the other side knows of events whose calls are in doubt. `revive` brings dead requests back to
    life, each as the event of its next attempt, by the dead one's id; an event that it leaves out was overtaken.
    `call_key` tells what an event's call is about, the same for every event that may ask for it, an item and its
    attempt say: calls of one key are never made side by side, and whichever event asks again is told that the call may
    have been made. `prepare` leaves out an event whose key another event has done. Without `call_key` each event is a
    call of its own, and an edited copy takes its event's place. `policy` is how often and after how long its events
    are tried again, in place of the worker's. `result` is the payload that `call` returns: with it an admin can record
    what came of a call in doubt. `close` hangs up when a worker stops. `grace_period` seconds pass before the other
    side is asked about a call that failed in the middle: until then it may still be processing the call.
    `recheck` reads again, by the event's id, what may have changed since `prepare` and would forbid the call; the
    answer is what `still_mine()` returns. An effect that has it awaits `still_mine()` before every step that cannot be
    taken back. For one that has none the engine looks at the lease and at pauses before it calls.
    `open_` tells, by the event's id, what still waits for the outcome of dead events, an item say: such a letter is not
    resolved by hand without a result. `discard` gives what waits an end, with why, and returns the events that follow.
    `account` is the field of the event's data that names the account of its tenant: tenants get equal shares of a
    worker's deliveries (or as their weights say), and within a tenant its accounts do. Without it, or where the field
    is empty, a tenant is one account.
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
        """The key of an event's call."""
        return self.call_key(event) if self.call_key else event.id


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that is true at every commit, and the query for what would contradict it."""

    name: str
    statement: LiteralString | sql.Composed


@dataclass(frozen=True, slots=True)
class Lockable:
    """A table whose rows handlers and effects lock, by their column `id`.

    `id_of` reads the row's id from an event; None: it names none. `look_up` finds, by the event's id, rows that events
    do not name; it locks nothing.
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
    """Every handler and every effect, by the payload that it serves, and how to tell what an event would come to.

    `lockables` are the rows that events need locked, in the order of locking: where another session holds one for
    long, the events that need it are set aside together. A worker does not start without `tables` (qualified names),
    nor where a table in one of `schemas`, the domains' own, has no forced row-level security. `migrations` are the
    directories of domains that live in packages of their own, by name.
    """

    handlers: Mapping[type[Payload], Handler]
    effects: Mapping[type[Payload], Effect]
    forecasts: Mapping[type[Payload], Forecaster] = field(default_factory=dict)
    locks: Sequence[Callable[[Connection, Sequence[Event[Any]]], None]] = ()
    lockables: Sequence[Lockable] = ()
    tables: Sequence[str] = ()
    schemas: Sequence[str] = ()
    migrations: Mapping[str, Path] = field(default_factory=dict)

    def lock(self, connection: Connection, events: Sequence[Event[Any]]) -> None:
        """Lock what handlers of several types would lock one after the other, all of it in one order."""
        for lock in self.locks:
            lock(connection, events)

    def __post_init__(self) -> None:
        """Raise `TypeError` for an effect that is declared sequenced: calls run side by side."""
        if sequenced := [payload.type for payload in self.effects if payload.sequenced]:
            message = f"effects cannot be sequenced: {', '.join(sequenced)}"
            raise TypeError(message)

    def route(self, event: Event[Any]) -> Route:
        """Where an event goes. Raises `LookupError` for a type that nobody serves."""
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
        """Whose share of the deliveries an event of an effect takes; None: it is no effect's."""
        return self.route(event).share if type(event.data) in self.effects else None

    def served(self) -> dict[str, Served]:
        """Where the events of each type go, and who takes them there."""
        handled = {payload.type: Served(EVENTS_QUEUE, "handler") for payload in self.handlers}
        return handled | {payload.type: Served(effect.queue, "effect") for payload, effect in self.effects.items()}

    def call_keys(self, events: Sequence[Event[Any]]) -> dict[UUID, UUID]:
        """The keys of the calls that these events ask for, by the event's id; events with a handler ask for none."""
        effects = {event.id: self.effects.get(type(event.data)) for event in events}
        return {event.id: effect.key(event) for event in events if (effect := effects[event.id])}

    def queues(self) -> list[str]:
        """Every queue that a worker can serve."""
        return sorted({EVENTS_QUEUE, *self.effect_queues()})

    def effect_queues(self) -> list[str]:
        """Every queue that effects wait in."""
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
    """One wiring of many. Raises `SetupError` if two serve one event type."""
    handlers: dict[type[Payload], Handler] = {}
    effects: dict[type[Payload], Effect] = {}
    parts = list(wirings)
    for part in parts:
        if twice := [one.type for one in (*part.handlers, *part.effects) if one in handlers or one in effects]:
            raise SetupError(f"event type {twice[0]!r} is served twice: an event type has one handler or effect")
        handlers.update(part.handlers)
        effects.update(part.effects)
    return Wiring(
        handlers=handlers,
        effects=effects,
        forecasts={payload: forecast for part in parts for payload, forecast in part.forecasts.items()},
        locks=[lock for part in parts for lock in part.locks],
        lockables=[one for part in parts for one in part.lockables],
        tables=tables,
        schemas=schemas,
        migrations=migrations or {},
    )


_chosen: list[Wiring] = []


def wiring() -> Wiring:
    """The wiring in force: the one that was installed, unless `use()` chose another."""
    if _chosen:
        return _chosen[-1]
    found: Wiring = installed()
    return found


@contextmanager
def use(chosen: Wiring) -> Iterator[None]:
    """Serve events by another wiring for a while: how handlers that are not this program's are run and tested."""
    _chosen.append(chosen)
    try:
        yield
    finally:
        _chosen.remove(chosen)
