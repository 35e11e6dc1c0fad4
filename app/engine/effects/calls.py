"""A parcel of effects under way: its tasks, its lease, and how letters of it go back into the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.domain import Call, Effect, Lane, Policy, Prepared, QueuePaused
from app.engine.effects import rests
from app.engine.queue.envelope import Letter
from app.engine.queue.lease import Delivery, LeaseLost
from app.engine.queue.publish import put_back
from app.engine.queue.turns import Turn
from app.errors import Busy
from events import Event, Payload

_LEASE_IS_FRESH = 1.0
"""Seconds for which a lease that was just looked at needs no second look before a call."""

_OVER = "DELETE FROM engine.calls WHERE call_key = ANY(%s)"
_LOOK = """
SELECT engine.is_live(%s, %s, %s), EXISTS (SELECT FROM engine.paused_queues WHERE queue_name = %s)
"""
_LIVE = "SELECT call_key FROM engine.calls c WHERE call_key = ANY(%s) AND engine.is_live(row_id, attempts, worker_id)"
_IN_HAND = """
SELECT EXISTS (
    SELECT FROM engine.calls c
     WHERE c.call_key = ANY(%(keys)s)
       AND (engine.is_live(c.row_id, c.attempts, c.worker_id) OR c.ask_after > clock_timestamp()
            OR c.ask_after IS NULL AND EXISTS (
               SELECT FROM engine.rescues r
                WHERE r.row_id = c.row_id AND r.at > clock_timestamp() - %(settle)s * interval '1 second')))
"""
# Row 0 is no delivery's. Where a call was begun before, its row is locked and stays as it is; xmax tells which.
_SEIZE = """
INSERT INTO engine.calls AS c (call_key, event_id, row_id, attempts)
SELECT call_key, event_id, 0, 0 FROM unnest(%s::uuid[], %s::uuid[]) AS wanted (call_key, event_id) ORDER BY call_key
ON CONFLICT (call_key) DO UPDATE SET row_id = c.row_id
RETURNING call_key, xmax <> 0 AND engine.is_live(row_id, attempts, worker_id), xmax <> 0
"""
# Marks that were made under the event's id, by an older version or before an edit, and none under the key.
_ADOPT = """
UPDATE engine.calls c SET call_key = wanted.call_key
  FROM unnest(%s::uuid[], %s::uuid[]) AS wanted (call_key, event_id)
 WHERE c.event_id = wanted.event_id AND c.call_key <> wanted.call_key
   AND NOT EXISTS (SELECT FROM engine.calls there WHERE there.call_key = wanted.call_key)
"""
_REPLACED = """
DELETE FROM engine.calls c USING unnest(%s::uuid[], %s::uuid[]) AS wanted (call_key, event_id)
 WHERE c.event_id = wanted.event_id AND c.call_key <> wanted.call_key
   AND NOT engine.is_live(c.row_id, c.attempts, c.worker_id)
"""


# A call that a delivery left behind without an outcome may just have been made: its grace period begins now.
_SETTLE = """
WITH left_behind AS MATERIALIZED (
    SELECT c.call_key FROM engine.calls c
     WHERE c.call_key = ANY(%(keys)s) AND c.ask_after IS NULL AND NOT engine.is_live(c.row_id, c.attempts, c.worker_id)
     ORDER BY c.call_key FOR UPDATE)
UPDATE engine.calls c SET ask_after = clock_timestamp() + %(settle)s * interval '1 second'
  FROM left_behind WHERE c.call_key = left_behind.call_key
"""
_LOCK = "SELECT FROM engine.calls WHERE call_key = ANY(%s) ORDER BY call_key FOR UPDATE"
_UNSETTLED = """
SELECT greatest(0, coalesce(extract(epoch FROM max(ask_after) - clock_timestamp()), 0))::double precision
  FROM engine.calls WHERE call_key = ANY(%s)
"""


def _clock() -> float:
    # One that goes on while the machine sleeps, where there is one: a monotonic clock would not notice.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(slots=True, eq=False)
class Lease:
    """What tells a delivery of effects whether it may go on: whether it is still its own, and its queue not paused."""

    engine: Engine
    delivery: Delivery
    effect: Effect
    keys: Sequence[str] = ()
    """What may have to rest meanwhile: the keys of `engine.rests` that this delivery's calls are under."""
    looked_at: float = field(default_factory=_clock)
    rests: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Until when each key rests, by this process's clock, and why."""
    _asking: list[Prepared] = field(default_factory=list)
    _next: asyncio.Task[Mapping[UUID, Any]] | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def still_mine(self) -> None:
        """Raise `LeaseLost` if the row was given to another worker, who may be making the same calls.

        Looks only if it did not a moment ago. A worker that was stopped and goes on finds that it did not.
        """
        if _clock() - self.looked_at > _LEASE_IS_FRESH:
            await self._together()

    async def look(self, prepared: Prepared) -> Any:
        """Look now, before a call that cannot be taken back; what the effect's `look` says of the event.

        Calls that ask at the same time share one look. Raises `LeaseLost` and `QueuePaused`.
        """
        self._asking.append(prepared)
        return (await self._together()).get(prepared.event.id)

    async def _together(self) -> Mapping[UUID, Any]:
        if self._next is None:
            self._next = asyncio.create_task(self._take_turn())
            # The task that asked may be cancelled before there is an answer: then nobody reads it.
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._next)

    async def _take_turn(self) -> Mapping[UUID, Any]:
        # One look at a time needs one connection; those who ask meanwhile share the next.
        async with self._turn:
            asking, self._asking, self._next = self._asking, [], None
            return await asyncio.to_thread(self._look, asking)

    def _look(self, asking: Sequence[Prepared]) -> Mapping[UUID, Any]:
        looked_at = _clock()
        mine = self.delivery
        with self.engine.pool.connection() as connection:
            found = connection.execute(
                _LOOK, [mine.row_id, mine.attempts, mine.worker_id, self.effect.queue]
            ).fetchone()
            said = self.effect.look(connection, asking) if self.effect.look and asking else {}
            resting = rests.find(connection, self.keys)
        if found is None or not found[0]:
            raise LeaseLost
        for one in resting:
            self.rests[one.key] = (looked_at + one.seconds, one.reason)
        self.looked_at = looked_at
        if asking and found[1]:
            raise QueuePaused(self.effect.queue)
        return said

    def rest(self, key: str, seconds: float, error: Exception) -> None:
        """Let no other call of this delivery under `key` begin for so many seconds."""
        self.rests[key] = (_clock() + seconds, str(error))

    def resting(self, key: str) -> Busy | None:
        """Why no call under `key` may begin now; None if it may."""
        until, reason = self.rests.get(key, (0.0, ""))
        return rests.busy(key, left, reason) if (left := until - _clock()) > 0 else None


@dataclass(slots=True, eq=False)
class Task:
    """One event of the parcel on its way through: what its call needs, and what came of it."""

    letter: Letter
    event: Event[Any]
    key: UUID
    prepared: Prepared
    call: Call
    lane: Lane | None
    begun: bool = False
    outcome: Payload | Exception | None = None


@dataclass(slots=True, eq=False)
class Parcel:
    """A delivery of effects under way.

    `tasks` are those without a recorded outcome; `lanes` tells how many of them may be called at once; `turn` is its
    place among the deliveries of its worker.
    """

    engine: Engine
    delivery: Delivery
    effect: Effect
    tasks: list[Task]
    lanes: dict[Lane, int]
    lease: Lease
    turn: Turn | None = None
    has_begun: bool = False

    @property
    def makes_room(self) -> bool:
        """Whether others wait for this delivery's place: it begins no further call. Every delivery begins one."""
        return self.has_begun and self.turn is not None and self.turn.is_over

    @property
    def policy(self) -> Policy:
        """How its events are tried again."""
        return self.effect.policy or self.engine.policy

    def rest_key(self, task: Task) -> str:
        """What rests when the other side of a task's call says to come back later."""
        return rests.key_of(task.lane, task.event)


def again(
    connection: Connection,
    letters: Sequence[Letter],
    delay: float = 0.0,
    parcel: int = 1,
    lane: Lane | None = None,
    error: str | None = None,
) -> None:
    """Put letters back with the attempts they had, alone or sharing a `parcel`; parked, if a full `lane` is named.

    The rows remember the `error` that they wait for.
    """
    for attempt in sorted({letter.attempt for letter in letters}):
        same = [(event_of(letter), letter.raw) for letter in letters if letter.attempt == attempt]
        put_back(connection, same, delay=delay, attempt=attempt, parcel=parcel, error=error, lane=lane)


def lock_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """Lock calls in the order of their keys until the transaction ends: before the ledger and dead letters."""
    connection.execute(_LOCK, [list(keys)])


def end_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """End the calls of these keys: a delivery that asks for one from now on begins it anew, not in doubt."""
    if keys:
        connection.execute(_OVER, [list(keys)])


def in_hand(connection: Connection, keys: Sequence[UUID], settle: float) -> bool:
    """Whether a call of one of these keys is under way, or ended without an outcome less than `settle` seconds ago."""
    row = connection.execute(_IN_HAND, {"keys": list(keys), "settle": settle}).fetchone()
    return row is not None and bool(row[0])


def live(connection: Connection, keys: Sequence[UUID]) -> set[UUID]:
    """Those of these keys whose call a live delivery makes."""
    return {key for (key,) in connection.execute(_LIVE, [list(keys)])}


def seize_calls(connection: Connection, keys: Mapping[UUID, UUID]) -> dict[UUID, bool]:
    """Let no call of these keys be begun until the transaction ends; those that are not `live()`.

    `keys` are the calls' keys by the id of the event that asks. Returns whether the call of a key was begun before
    and has no outcome. A delivery that is about to begin one waits, and then looks into the ledger. `end_calls()` those
    that are returned.
    """
    adopt_marks(connection, keys)
    wanted = {key: event_id for event_id, key in keys.items()}
    rows = connection.execute(_SEIZE, [list(wanted), list(wanted.values())])
    return {key: in_doubt for key, is_live, in_doubt in rows if not is_live}


def let_settle(connection: Connection, keys: Sequence[UUID], settle: float) -> None:
    """Begin the grace period, of `settle` seconds, of calls that a delivery left without an outcome."""
    connection.execute(_SETTLE, {"keys": list(keys), "settle": settle})


def unsettled(connection: Connection, keys: Sequence[UUID]) -> float:
    """Seconds until the other side may be asked about all calls of these keys."""
    row = connection.execute(_UNSETTLED, [list(keys)]).fetchone()
    return float(row[0]) if row else 0.0


def adopt_marks(connection: Connection, keys: Mapping[UUID, UUID]) -> None:
    """Find marks of calls under their keys that were made under an event's id; `keys` by the event's id."""
    others = {event_id: key for event_id, key in keys.items() if key != event_id}
    if others:
        for statement in (_ADOPT, _REPLACED):
            connection.execute(statement, [list(others.values()), list(others)])


def event_of(letter: Letter) -> Event[Any]:
    """The event of a letter that is known to hold one."""
    if not isinstance(letter.event, Event):
        raise TypeError(letter.event.reason)
    return letter.event
