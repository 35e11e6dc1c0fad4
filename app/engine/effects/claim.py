"""Claim a batch of effects: the transaction that takes slots and marks calls as begun, before any call is made.

Slots first, calls second. An event without a free slot of its concurrency limit is parked, and woken by the next
delivery that frees a slot. A mark keeps other deliveries from making the same call at the same time; after a crash it
shows that the call is in doubt.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from psycopg import errors as pg

from app.context import Connection
from app.engine import metrics
from app.engine.delivery import aside, bury, unknown
from app.engine.delivery.engine import Engine
from app.engine.delivery.ledger import not_applied
from app.engine.delivery.locked import LONGEST_DELAY_S, find_locked
from app.engine.delivery.retry import is_disconnect
from app.engine.delivery.settle import settle
from app.engine.delivery.transactions import retry_on_conflict, set_timeouts
from app.engine.domain import ConcurrencyLimit, Effect, wiring
from app.engine.effects import concurrency, cooldowns
from app.engine.effects.batch import EffectBatch, Lease, again, event_of
from app.engine.effects.calls import adopt_marks, begin_grace_period, end_calls, grace_left, unmark_calls
from app.engine.effects.prepare import prepare
from app.engine.queue.envelope import QueuedEvent, remembered
from app.engine.queue.lease import Delivery, LeaseLost, acknowledge, lock_delivery, read
from app.engine.routing import EVENTS_QUEUE, MOST_IN_A_ROW, Route
from events import Event

_BUSY_DELAY = 1.0
"""Seconds until an event whose call another live delivery is making is tried again."""

_WHERE = "SELECT queue_name, priority, share FROM engine.queue_rows WHERE place = 'queue' AND row_id = %s"
_BEGIN = """
INSERT INTO engine.calls AS c (call_key, event_id, row_id, attempts, worker_id)
SELECT call_key, event_id, %(row_id)s, %(attempts)s, %(worker_id)s
  FROM unnest(%(keys)s::uuid[], %(events)s::uuid[]) AS wanted (call_key, event_id)
 ORDER BY call_key
ON CONFLICT (call_key) DO UPDATE
   SET event_id = excluded.event_id, row_id = excluded.row_id, attempts = excluded.attempts,
       worker_id = excluded.worker_id, tries = c.tries + 1, begun_at = clock_timestamp(), ask_after = NULL
 WHERE NOT engine.is_live(c.row_id, c.attempts, c.worker_id) AND c.ask_after <= clock_timestamp()
RETURNING call_key, tries > 1
"""


def claim(engine: Engine, delivery: Delivery) -> EffectBatch | None:
    """Claim the batch: mark its calls as begun and prepare them. Returns None if nothing is left to call."""
    queued_events: list[QueuedEvent] = []
    try:
        claimed: list[EffectBatch | None] = []

        def transaction() -> int:
            with engine.transaction() as connection:
                set_timeouts(connection)
                lock_delivery(connection, delivery)
                queued_events[:] = read(connection, delivery)
                claimed[:] = [_claim(connection, engine, delivery, queued_events)]
            return len(queued_events)

        retry_on_conflict(transaction)
        return claimed[0]
    except LeaseLost:
        raise
    except Exception as error:
        if is_disconnect(error) or not queued_events:
            raise
        _give_back(engine, delivery, queued_events, error)
        return None


def _without_locked(
    connection: Connection, engine: Engine, delivery: Delivery, queued_events: Sequence[QueuedEvent]
) -> list[QueuedEvent]:
    """Set aside the events whose rows another session has locked. Returns the others."""
    found = find_locked(connection, queued_events)
    engine.locked.update(found)
    for target, some in found.locked.items():
        aside.set_aside(connection, _route(connection, delivery), some, target.error, longest=LONGEST_DELAY_S)
        metrics.put_back((queued.type for queued in some), "locked")
    return found.free(queued_events)


def _claim(
    connection: Connection, engine: Engine, delivery: Delivery, queued_events: Sequence[QueuedEvent]
) -> EffectBatch | None:
    free = (
        _without_locked(connection, engine, delivery, queued_events)
        if engine.locked.concerns(queued_events)
        else queued_events
    )
    known = unknown.take_out(connection, free, _refusal, lambda: _route(connection, delivery))
    wanted = not_applied(connection, known)
    batch = _take_on(connection, engine, delivery, queued_events, wanted)
    # After the calls: events come later in the lock order.
    bury.bury_reused(connection, known, [event_of(queued) for queued in wanted])
    return batch


def _take_on(
    connection: Connection,
    engine: Engine,
    delivery: Delivery,
    queued_events: Sequence[QueuedEvent],
    wanted: list[QueuedEvent],
) -> EffectBatch | None:
    """Mark the calls of the `wanted` events of the row, and remove all others from it."""
    if delivery.attempts and len(wanted) > 1:
        # A batch whose worker crashed may contain a call that crashes workers: give each event its own row.
        again(connection, wanted)
        acknowledge(connection, delivery, [])
        return None
    effect, mine = _of_one_effect(connection, wanted)
    if effect is None:
        acknowledge(connection, delivery, [])
        return None
    bound = effect.limits(connection, [event_of(queued) for queued in mine]) if effect.limits else {}
    keys = {queued: cooldowns.key_of(bound.get(event_of(queued).id), event_of(queued)) for queued in mine}
    mine = _put_back_cooling_down(connection, keys)
    bound = {event_id: limit for event_id, limit in bound.items() if event_id in {one.event_id for one in mine}}
    limits, admitted = _admit(connection, delivery, effect, mine, bound)
    begun = _begin(connection, delivery, effect, admitted)
    lease = Lease(engine, delivery, effect, sorted(set(keys.values())))
    tasks = prepare(connection, lease, effect, begun, bound)
    if len(tasks) < len(queued_events):
        acknowledge(connection, delivery, [task.queued for task in tasks])
    if tasks:
        return EffectBatch(engine, delivery, effect, tasks, limits, lease)
    for limit in sorted(limits):
        concurrency.wake_parked(connection, limit)
    return None


def _put_back_cooling_down(connection: Connection, keys: Mapping[QueuedEvent, str]) -> list[QueuedEvent]:
    """Put back events whose key is cooling down, until the cooldown ends. Returns the others."""
    cooling = {cooldown.key: cooldown for cooldown in cooldowns.find(connection, sorted(set(keys.values())))}
    for key, cooldown in cooling.items():
        waiting = [queued for queued, own in keys.items() if own == key]
        why = remembered(cooldowns.busy(key, cooldown.seconds, cooldown.reason))
        again(connection, waiting, delay=cooldown.seconds * random.uniform(1, 1.1), batch_size=MOST_IN_A_ROW, error=why)
    return [queued for queued, key in keys.items() if key not in cooling]


def _admit(
    connection: Connection,
    delivery: Delivery,
    effect: Effect,
    queued_events: list[QueuedEvent],
    bound: Mapping[UUID, ConcurrencyLimit],
) -> tuple[dict[ConcurrencyLimit, int], list[QueuedEvent]]:
    """Take slots, and park the events that got none. Returns the slots taken and the admitted events."""
    wanted = Counter(bound.values())
    granted = concurrency.take(
        connection, delivery, {limit: min(count, effect.at_once) for limit, count in wanted.items()}
    )
    for limit in [limit for limit, count in granted.items() if not count]:
        waiting = [queued for queued in queued_events if bound.get(event_of(queued).id) == limit]
        again(connection, waiting, delay=concurrency.PARKED_S, batch_size=MOST_IN_A_ROW, limit=limit)
        queued_events = [queued for queued in queued_events if queued not in waiting]
    return granted, queued_events


def _of_one_effect(connection: Connection, queued_events: list[QueuedEvent]) -> tuple[Effect | None, list[QueuedEvent]]:
    """Return the effect of the first event, and the events of that effect. The others are put back."""
    if not queued_events:
        return None, []
    kind = type(event_of(queued_events[0]).data)
    mine = [queued for queued in queued_events if type(event_of(queued).data) is kind]
    again(connection, [queued for queued in queued_events if queued not in mine])
    return wiring().effects[kind], mine


def _begin(
    connection: Connection, delivery: Delivery, effect: Effect, queued_events: list[QueuedEvent]
) -> list[tuple[QueuedEvent, bool]]:
    """Mark calls as begun. Returns the events whose calls this delivery makes, each with whether its call is in doubt.

    Events whose call another live delivery is making, or whose grace period is not over, are put back for that time.
    """
    keys = {event_of(queued).id: effect.key(event_of(queued)) for queued in queued_events}
    adopt_marks(connection, keys)
    # Two events of one batch may need the same call: the first one makes it, the other one uses its recorded result.
    first = {key: event_id for event_id, key in reversed(keys.items())}
    begin_grace_period(connection, list(first), effect.grace_period())
    wanted = {"keys": list(first), "events": list(first.values())}
    begun: dict[UUID, bool] = dict(connection.execute(_BEGIN, {**asdict(delivery), **wanted}).fetchall())
    doubts = {first[key]: in_doubt for key, in_doubt in begun.items()}
    others = [queued for queued in queued_events if queued.event_id not in doubts]
    if others:
        wait = grace_left(connection, [keys[event_of(queued).id] for queued in others])
        again(connection, others, delay=max(_BUSY_DELAY, wait))
    mine = [queued for queued in queued_events if queued.event_id in doubts]
    # The INSERT may have waited for a delivery that has recorded the event, or buried another event with its id.
    open_ = not_applied(connection, mine)
    reused = bury.bury_reused(connection, mine, [event_of(queued) for queued in open_])
    dead = [one.queued for one in reused if one.place == "dead"]
    unmark_calls(connection, [keys[event_of(queued).id] for queued in dead])
    end_calls(connection, [keys[event_of(queued).id] for queued in mine if queued not in open_ and queued not in dead])
    return [(queued, doubts[event_of(queued).id]) for queued in open_]


def _refusal(event: Event[Any]) -> str | None:
    if type(event.data) in wiring().effects:
        return None
    what = "has a handler" if type(event.data) in wiring().handlers else "has no handler or effect"
    return f"type: {event.type} {what}, it is no effect"


def _route(connection: Connection, delivery: Delivery) -> Route:
    """Return the route of the delivery's row, for events without a route because their type is unknown."""
    queue, priority, share = connection.execute(_WHERE, [delivery.row_id]).fetchone() or (EVENTS_QUEUE, 0, None)
    return Route(queue, priority, MOST_IN_A_ROW, effect_of="unknown", share=share)


def _give_back(engine: Engine, delivery: Delivery, queued_events: list[QueuedEvent], error: Exception) -> None:
    """After a failed claim: end a single event with the error, or put each of several events in its own row.

    If the error is a lock time-out, events whose rows are locked are set aside, and the others are put back together.
    """
    with engine.transaction() as connection:
        set_timeouts(connection)
        lock_delivery(connection, delivery)
        free = queued_events
        if isinstance(error, pg.LockNotAvailable):
            free = _without_locked(connection, engine, delivery, queued_events)
        if len(free) == len(queued_events) == 1:
            settle(connection, engine.policy, queued_events, error)
        else:
            known = unknown.take_out(connection, free, _refusal, lambda: _route(connection, delivery))
            again(connection, known, batch_size=MOST_IN_A_ROW if len(free) < len(queued_events) else 1)
        acknowledge(connection, delivery, [])
