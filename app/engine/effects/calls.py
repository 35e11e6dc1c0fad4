"""A batch of effects in delivery: its tasks, its lease, the marks of its calls, and how its events are requeued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.domain import Call, ConcurrencyLimit, Effect, Policy, Prepared, QueuePaused
from app.engine.effects import cooldowns
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.fair_share import RunningDelivery
from app.engine.queue.lease import Delivery, LeaseLost
from app.engine.queue.publish import put_back
from app.errors import Busy
from events import Event, Payload

_LEASE_IS_FRESH = 1.0
"""Seconds for which a lease check is valid for further calls."""

_OVER = "DELETE FROM engine.calls WHERE call_key = ANY(%s)"
_NEVER_BEGUN = "DELETE FROM engine.calls WHERE call_key = ANY(%s) AND tries = 1"
# A call that an earlier try left in doubt stays in doubt; its grace period is over.
_BEGUN_BEFORE = """
UPDATE engine.calls SET tries = tries - 1, ask_after = clock_timestamp() WHERE call_key = ANY(%s) AND tries > 1
"""
_RENAME = "UPDATE engine.calls SET event_id = %s, call_key = %s WHERE call_key = %s"
_CHECK = """
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
                WHERE r.row_id = c.row_id AND r.at > clock_timestamp() - %(grace_period)s * interval '1 second')))
"""
# Row 0 belongs to no delivery. An existing call's row is locked and unchanged; xmax <> 0 marks it.
_SEIZE = """
INSERT INTO engine.calls AS c (call_key, event_id, row_id, attempts)
SELECT call_key, event_id, 0, 0 FROM unnest(%s::uuid[], %s::uuid[]) AS wanted (call_key, event_id) ORDER BY call_key
ON CONFLICT (call_key) DO UPDATE SET row_id = c.row_id
RETURNING call_key, xmax <> 0 AND engine.is_live(row_id, attempts, worker_id), xmax <> 0
"""
# Marks under the event's id, from an older version or from before an edit, while none exists under the key.
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


# A call that a delivery left without an outcome may have been made just now: its grace period begins now.
_BEGIN_GRACE_PERIOD = """
WITH left_behind AS MATERIALIZED (
    SELECT c.call_key FROM engine.calls c
     WHERE c.call_key = ANY(%(keys)s) AND c.ask_after IS NULL AND NOT engine.is_live(c.row_id, c.attempts, c.worker_id)
     ORDER BY c.call_key FOR UPDATE)
UPDATE engine.calls c SET ask_after = clock_timestamp() + %(grace_period)s * interval '1 second'
  FROM left_behind WHERE c.call_key = left_behind.call_key
"""
_LOCK = "SELECT FROM engine.calls WHERE call_key = ANY(%s) ORDER BY call_key FOR UPDATE"
_GRACE_LEFT = """
SELECT greatest(0, coalesce(extract(epoch FROM max(ask_after) - clock_timestamp()), 0))::double precision
  FROM engine.calls WHERE call_key = ANY(%s)
"""


def _clock() -> float:
    # A clock that also runs while the machine sleeps, where there is one. A monotonic clock would miss that time.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(slots=True, eq=False)
class Lease:
    """Whether a delivery of effects may continue: it still holds its lease, and its queue is not paused."""

    engine: Engine
    delivery: Delivery
    effect: Effect
    keys: Sequence[str] = ()
    """Keys of `engine.rests` that apply to this delivery's calls."""
    checked_at: float = field(default_factory=_clock)
    cooldowns: dict[str, tuple[float, str]] = field(default_factory=dict)
    """For each key in cooldown: when it ends, by this process's clock, and the reason."""
    _asking: list[Prepared] = field(default_factory=list)
    _next: asyncio.Task[Mapping[UUID, Any]] | None = None
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def still_mine(self) -> None:
        """Raise `LeaseLost` if another worker has fetched the row and may be making the same calls.

        Checks only if the last check is too old, as it is after the worker was suspended.
        """
        if _clock() - self.checked_at > _LEASE_IS_FRESH:
            await self._share_check()

    async def recheck(self, prepared: Prepared) -> Any:
        """Check now, before a call that cannot be undone. Returns what the effect's `recheck` returns for the event.

        Concurrent callers share one check. Raises `LeaseLost` and `QueuePaused`.
        """
        self._asking.append(prepared)
        return (await self._share_check()).get(prepared.event.id)

    async def _share_check(self) -> Mapping[UUID, Any]:
        if self._next is None:
            self._next = asyncio.create_task(self._check_together())
            # If the waiting task is cancelled, no task reads the result: retrieve the exception here.
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._next)

    async def _check_together(self) -> Mapping[UUID, Any]:
        # One check at a time uses one connection. Calls that arrive during a check share the next one.
        async with self._checking:
            asking, self._asking, self._next = self._asking, [], None
            return await asyncio.to_thread(self._check, asking)

    def _check(self, asking: Sequence[Prepared]) -> Mapping[UUID, Any]:
        checked_at = _clock()
        mine = self.delivery
        with self.engine.pool.connection() as connection:
            found = connection.execute(
                _CHECK, [mine.row_id, mine.attempts, mine.worker_id, self.effect.queue]
            ).fetchone()
            said = self.effect.recheck(connection, asking) if self.effect.recheck and asking else {}
            cooling_down = cooldowns.find(connection, self.keys)
        if found is None or not found[0]:
            raise LeaseLost
        for one in cooling_down:
            self.cooldowns[one.key] = (checked_at + one.seconds, one.reason)
        self.checked_at = checked_at
        if asking and found[1]:
            raise QueuePaused(self.effect.queue)
        return said

    def cool_down(self, key: str, seconds: float, error: Exception) -> None:
        """Stop this delivery's other calls under `key` from beginning for `seconds`."""
        self.cooldowns[key] = (_clock() + seconds, str(error))

    def cooling_down(self, key: str) -> Busy | None:
        """Return why no call under `key` may begin now; None if it may."""
        until, reason = self.cooldowns.get(key, (0.0, ""))
        return cooldowns.busy(key, left, reason) if (left := until - _clock()) > 0 else None


@dataclass(slots=True, eq=False)
class Task:
    """One event of the batch: the input of its call, and the outcome."""

    queued: QueuedEvent
    event: Event[Any]
    key: UUID
    prepared: Prepared
    call: Call
    limit: ConcurrencyLimit | None
    begun: bool = False
    outcome: Payload | Exception | None = None


@dataclass(slots=True, eq=False)
class EffectBatch:
    """A batch of effects in delivery.

    `tasks`: those without a recorded outcome. `limits`: slots held for each concurrency limit. `running`: its entry
    among the deliveries of its worker.
    """

    engine: Engine
    delivery: Delivery
    effect: Effect
    tasks: list[Task]
    limits: dict[ConcurrencyLimit, int]
    lease: Lease
    running: RunningDelivery | None = None
    has_begun: bool = False

    @property
    def makes_room(self) -> bool:
        """Whether this delivery must yield and begins no further call. Every delivery begins at least one."""
        return self.has_begun and self.running is not None and self.running.must_yield

    @property
    def policy(self) -> Policy:
        """The retry policy of its events."""
        return self.effect.policy or self.engine.policy

    def cooldown_key(self, task: Task) -> str:
        """Return the key that cools down after a retry-after answer to the task's call."""
        return cooldowns.key_of(task.limit, task.event)


def again(
    connection: Connection,
    queued_events: Sequence[QueuedEvent],
    delay: float = 0.0,
    batch_size: int = 1,
    limit: ConcurrencyLimit | None = None,
    error: str | None = None,
) -> None:
    """Requeue events with their attempts, `batch_size` in a row; parked for `limit` if one is given.

    `delay` is in seconds. The rows store the `error` that they wait for.
    """
    for attempt in sorted({queued.attempt for queued in queued_events}):
        same = [(event_of(queued), queued.raw) for queued in queued_events if queued.attempt == attempt]
        put_back(connection, same, delay=delay, attempt=attempt, batch_size=batch_size, error=error, limit=limit)


def lock_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """Lock calls in the order of their keys until the transaction ends.

    In the lock order: before ledger and dead letters.
    """
    connection.execute(_LOCK, [list(keys)])


def end_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """Delete the marks of calls. A delivery that claims one of these keys later begins the call anew, not in doubt."""
    if keys:
        connection.execute(_OVER, [list(keys)])


def unmark_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """Unmark calls that were marked as begun and not made, so that no delivery asks the other side about them."""
    if keys:
        connection.execute(_NEVER_BEGUN, [keys])
        connection.execute(_BEGUN_BEFORE, [keys])


def rename_call(connection: Connection, key: UUID, event_id: UUID, new_key: UUID) -> None:
    """Pass the mark of a call to the event `event_id`, under `new_key`."""
    connection.execute(_RENAME, [event_id, new_key, key])


def in_hand(connection: Connection, keys: Sequence[UUID], grace_period: float) -> bool:
    """Whether a call of one of these keys is in progress, or within its grace period (`grace_period` seconds)."""
    row = connection.execute(_IN_HAND, {"keys": list(keys), "grace_period": grace_period}).fetchone()
    return row is not None and bool(row[0])


def live(connection: Connection, keys: Sequence[UUID]) -> set[UUID]:
    """Return those of these keys whose call a live delivery is making."""
    return {key for (key,) in connection.execute(_LIVE, [list(keys)])}


def seize_calls(connection: Connection, keys: Mapping[UUID, UUID]) -> dict[UUID, bool]:
    """Block the begin of these calls until the transaction ends, except of those that a live delivery is making.

    `keys`: call keys by event id. Returns, per blocked key, whether its call was begun before and has no outcome. A
    delivery that tries to begin one waits for the commit, and then checks the ledger. Call `end_calls()` for the
    returned keys.
    """
    adopt_marks(connection, keys)
    wanted = {key: event_id for event_id, key in keys.items()}
    rows = connection.execute(_SEIZE, [list(wanted), list(wanted.values())])
    return {key: in_doubt for key, is_live, in_doubt in rows if not is_live}


def begin_grace_period(connection: Connection, keys: Sequence[UUID], grace_period: float) -> None:
    """Begin the grace period, of `grace_period` seconds, of calls that a delivery left without an outcome."""
    connection.execute(_BEGIN_GRACE_PERIOD, {"keys": list(keys), "grace_period": grace_period})


def grace_left(connection: Connection, keys: Sequence[UUID]) -> float:
    """Return the seconds until the other side may be asked about all calls of these keys."""
    row = connection.execute(_GRACE_LEFT, [list(keys)]).fetchone()
    return float(row[0]) if row else 0.0


def adopt_marks(connection: Connection, keys: Mapping[UUID, UUID]) -> None:
    """Move marks of calls that were stored under an event's id to the call's key. `keys`: call keys by event id."""
    others = {event_id: key for event_id, key in keys.items() if key != event_id}
    if others:
        for statement in (_ADOPT, _REPLACED):
            connection.execute(statement, [list(others.values()), list(others)])


def event_of(queued: QueuedEvent) -> Event[Any]:
    """Return the event of a queued event that is readable. Raises `TypeError` otherwise."""
    if not isinstance(queued.event, Event):
        raise TypeError(queued.event.reason)
    return queued.event
