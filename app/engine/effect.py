"""The declaration of an effect: how to make the outside calls of one type of event, with limits and retry policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.context import Connection, HandlerContext
from app.errors import Transient
from events import Event, Payload


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
class FailedCall:
    """A call that was begun and ended with `error`. `is_dead`: its event is buried, else it waits for a retry."""

    event: Event[Any]
    error: Exception
    is_dead: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """How to make the outside calls of one type of event.

    prepare       select the events that still need a call, in the claiming transaction, and mark them as begun; leave
                  out an event whose call another event with the same key has made
    call          make one call, outside any transaction; returns the payload of the result event
    limits        concurrency limits by event id; an event without an entry has no limit
    give_up       the result's payload if the last attempt failed with an error of `gives_up_on`; without it, and for
                  any other error, the event becomes a dead letter
    gives_up_on   default: transient errors
    failed        record begun calls that failed, in the commit that puts their events back or buries them; returns
                  events to publish; not called for an event that dies without an outcome of its call, because its
                  workers crashed
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
    discard       end the objects that wait for discarded events, with a reason; returns the events to publish, among
                  them a discarded event itself if its delivery must first ask the other side
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
    gives_up_on: tuple[type[Exception], ...] = (Transient,)
    failed: Callable[[HandlerContext, Sequence[FailedCall]], Iterable[Event[Any]]] | None = None
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
