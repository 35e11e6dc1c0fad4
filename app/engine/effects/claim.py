"""Admission: the transaction in which a delivery takes on a parcel of effects.

Slots first, calls second: what finds every slot of its lane taken is parked in the queue, untouched, and woken by the
delivery that next has a slot to spare. What is admitted is marked as begun, so that nobody else calls it meanwhile and
everybody after a crash knows that it is in doubt.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import errors as pg

from app.context import Connection, Moment
from app.engine.delivery import aside, bury, unknown
from app.engine.delivery.engine import Engine
from app.engine.delivery.ledger import first_of_each, refusal, reused
from app.engine.delivery.ledger import record as enter_ledger
from app.engine.delivery.locked import LONGEST_DELAY_S, find_locked
from app.engine.delivery.patience import limit_waits, patiently
from app.engine.delivery.retry import is_disconnect
from app.engine.delivery.settle import settle
from app.engine.domain import Call, Effect, Lane, wiring
from app.engine.effects import concurrency, rests
from app.engine.effects.calls import Lease, Parcel, Task, adopt_marks, again, end_calls, event_of, let_settle, unsettled
from app.engine.queue.envelope import Letter, remembered
from app.engine.queue.lease import Delivery, LeaseLost, hold, read, release
from app.engine.routing import EVENTS_QUEUE, PARCEL, Route
from events import Event

_BUSY_DELAY = 1.0
"""Seconds until an event whose call another live delivery has in hand is looked at again."""

_WHERE = "SELECT queue_name, priority, share FROM engine.queue_rows WHERE place = 'queue' AND row_id = %s"
_APPLIED = "SELECT event_id FROM engine.event_log WHERE event_id = ANY(%s)"
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


def claim(engine: Engine, delivery: Delivery) -> Parcel | None:
    """Take on the parcel: mark its events as begun and prepare them; None when nothing of it is left to do."""
    letters: list[Letter] = []
    try:
        claimed: list[Parcel | None] = []

        def transaction() -> int:
            with engine.pool.connection() as connection, connection.transaction():
                limit_waits(connection)
                hold(connection, delivery)
                letters[:] = read(connection, delivery)
                claimed[:] = [_claim(connection, engine, delivery, letters)]
            return len(letters)

        patiently(transaction)
        return claimed[0]
    except LeaseLost:
        raise
    except Exception as error:
        if is_disconnect(error) or not letters:
            raise
        _give_back(engine, delivery, letters, error)
        return None


def _without_locked(
    connection: Connection, engine: Engine, delivery: Delivery, letters: Sequence[Letter]
) -> list[Letter]:
    """Set those letters aside whose rows another session has locked; the others."""
    found = find_locked(connection, letters)
    engine.locked.note(found)
    for place, some in found.locked.items():
        aside.set_aside(connection, _route(connection, delivery), some, place.error, longest=LONGEST_DELAY_S)
    return found.free(letters)


def _claim(connection: Connection, engine: Engine, delivery: Delivery, letters: Sequence[Letter]) -> Parcel | None:
    free = _without_locked(connection, engine, delivery, letters) if engine.locked.concerns(letters) else letters
    known = unknown.take_out(connection, free, _refusal, lambda: _route(connection, delivery))
    wanted = _not_applied(connection, known)
    parcel = _take_on(connection, engine, delivery, letters, wanted)
    if len(wanted) < len(known):
        # After the calls: letters come later in the order of locks.
        others = reused(connection, known, [event_of(letter) for letter in wanted])
        bury.bury_apart(connection, [(letter, refusal(letter)) for letter in others])
    return parcel


def _take_on(
    connection: Connection, engine: Engine, delivery: Delivery, letters: Sequence[Letter], wanted: list[Letter]
) -> Parcel | None:
    """Mark the calls of those letters of the row that are `wanted`, and keep no others in it."""
    if delivery.attempts and len(wanted) > 1:
        # A parcel whose worker died may hold a call that kills workers: from now on each event travels alone.
        again(connection, wanted)
        release(connection, delivery, [])
        return None
    effect, mine = _of_one_effect(connection, wanted)
    if effect is None:
        release(connection, delivery, [])
        return None
    bound = effect.lanes(connection, [event_of(letter) for letter in mine]) if effect.lanes else {}
    keys = {letter: rests.key_of(bound.get(event_of(letter).id), event_of(letter)) for letter in mine}
    mine = _put_back_resting(connection, keys)
    bound = {event_id: lane for event_id, lane in bound.items() if event_id in {one.event_id for one in mine}}
    lanes, admitted = _admit(connection, delivery, effect, mine, bound)
    begun = _begin(connection, delivery, effect, admitted)
    lease = Lease(engine, delivery, effect, sorted(set(keys.values())))
    tasks = _prepare(connection, lease, effect, begun, bound)
    if len(tasks) < len(letters):
        release(connection, delivery, [task.letter for task in tasks])
    if tasks:
        return Parcel(engine, delivery, effect, tasks, lanes, lease)
    for lane in sorted(lanes):
        concurrency.wake_parked(connection, lane)
    return None


def _put_back_resting(connection: Connection, keys: Mapping[Letter, str]) -> list[Letter]:
    """Put letters back whose key rests, until it does not; the others."""
    resting = {rest.key: rest for rest in rests.find(connection, sorted(set(keys.values())))}
    for key, rest in resting.items():
        waiting = [letter for letter, own in keys.items() if own == key]
        why = remembered(rests.busy(key, rest.seconds, rest.reason))
        again(connection, waiting, delay=rest.seconds * random.uniform(1, 1.1), parcel=PARCEL, error=why)
    return [letter for letter, key in keys.items() if key not in resting]


def _admit(
    connection: Connection, delivery: Delivery, effect: Effect, letters: list[Letter], bound: Mapping[UUID, Lane]
) -> tuple[dict[Lane, int], list[Letter]]:
    """The slots that this delivery got, and the letters that may go on; the others are parked."""
    wanted = Counter(bound.values())
    granted = concurrency.take(
        connection, delivery, {lane: min(count, effect.at_once) for lane, count in wanted.items()}
    )
    for lane in [lane for lane, count in granted.items() if not count]:
        waiting = [letter for letter in letters if bound.get(event_of(letter).id) == lane]
        again(connection, waiting, delay=concurrency.PARKED_S, parcel=PARCEL, lane=lane)
        letters = [letter for letter in letters if letter not in waiting]
    return granted, letters


def _not_applied(connection: Connection, letters: Sequence[Letter]) -> list[Letter]:
    by_id = first_of_each(letters)
    applied = {event_id for (event_id,) in connection.execute(_APPLIED, [list(by_id)])}
    return [letter for event_id, letter in by_id.items() if event_id not in applied]


def _of_one_effect(connection: Connection, letters: list[Letter]) -> tuple[Effect | None, list[Letter]]:
    """The effect of the first letter and the letters that are its; the others are sent on their own way."""
    if not letters:
        return None, []
    kind = type(event_of(letters[0]).data)
    mine = [letter for letter in letters if type(event_of(letter).data) is kind]
    again(connection, [letter for letter in letters if letter not in mine])
    return wiring().effects[kind], mine


def _begin(
    connection: Connection, delivery: Delivery, effect: Effect, letters: list[Letter]
) -> list[tuple[Letter, bool]]:
    """Mark calls as begun; those that are ours and whether they are in doubt.

    What another live delivery has in hand, or has yet to settle, is put back for as long.
    """
    keys = {event_of(letter).id: effect.key(event_of(letter)) for letter in letters}
    adopt_marks(connection, keys)
    # Two events of one parcel may ask for one call: the first one makes it, the other then finds what came of it.
    first = {key: event_id for event_id, key in reversed(keys.items())}
    let_settle(connection, list(first), effect.settle())
    wanted = {"keys": list(first), "events": list(first.values())}
    begun: dict[UUID, bool] = dict(connection.execute(_BEGIN, {**asdict(delivery), **wanted}).fetchall())
    doubts = {first[key]: in_doubt for key, in_doubt in begun.items()}
    others = [letter for letter in letters if letter.event_id not in doubts]
    if others:
        wait = unsettled(connection, [keys[event_of(letter).id] for letter in others])
        again(connection, others, delay=max(_BUSY_DELAY, wait))
    mine = [letter for letter in letters if letter.event_id in doubts]
    # Beginning may have waited for a delivery that recorded the event meanwhile.
    open_ = _not_applied(connection, mine)
    end_calls(connection, [keys[event_of(letter).id] for letter in mine if letter not in open_])
    return [(letter, doubts[event_of(letter).id]) for letter in open_]


def _prepare(
    connection: Connection,
    lease: Lease,
    effect: Effect,
    begun: list[tuple[Letter, bool]],
    bound: Mapping[UUID, Lane],
) -> list[Task]:
    """The tasks of the events that are still wanted; the others have been overtaken and count as applied."""
    letters = {event_of(letter).id: (letter, in_doubt) for letter, in_doubt in begun}
    prepared = list(effect.prepare(Moment.begin(connection), [event_of(letter) for letter, _ in begun]))
    tasks = []
    for wanted in prepared:
        letter, in_doubt = letters.pop(wanted.event.id)
        is_last = (effect.policy or lease.engine.policy).is_last(letter.attempt)
        call = Call(in_doubt, letter.attempt, is_last, partial(lease.look, wanted))
        tasks.append(Task(letter, wanted.event, effect.key(wanted.event), wanted, call, bound.get(wanted.event.id)))
    enter_ledger(connection, [letter for letter, _ in letters.values()])
    end_calls(connection, [effect.key(event_of(letter)) for letter, _ in letters.values()])
    return tasks


def _refusal(event: Event[Any]) -> str | None:
    if type(event.data) in wiring().effects:
        return None
    what = "has a handler" if type(event.data) in wiring().handlers else "is served by nobody"
    return f"type: {event.type} {what}, it is no effect"


def _route(connection: Connection, delivery: Delivery) -> Route:
    """Where the delivery's row waits: a type that is unknown here has no route of its own."""
    queue, priority, share = connection.execute(_WHERE, [delivery.row_id]).fetchone() or (EVENTS_QUEUE, 0, None)
    return Route(queue, priority, PARCEL, effect_of="unknown", share=share)


def _give_back(engine: Engine, delivery: Delivery, letters: list[Letter], error: Exception) -> None:
    """The claim failed: alone, an event is ended by the error; of several each goes alone, to see whose it is.

    If rows are locked, it is clear whose: those events are set aside, and the others wait again together.
    """
    with engine.pool.connection() as connection, connection.transaction():
        limit_waits(connection)
        hold(connection, delivery)
        free = letters
        if isinstance(error, pg.LockNotAvailable):
            free = _without_locked(connection, engine, delivery, letters)
        if len(free) == len(letters) == 1:
            settle(connection, engine.policy, letters, error)
        else:
            known = unknown.take_out(connection, free, _refusal, lambda: _route(connection, delivery))
            again(connection, known, parcel=PARCEL if len(free) < len(letters) else 1)
        release(connection, delivery, [])
