"""A batch of effects in delivery: its tasks, its lease, and how its events are requeued."""

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

LONGEST_S = 60.0
"""Seconds after which a delivery takes no more events, so that it ends and its share competes anew."""
_LEASE_IS_FRESH = 1.0
"""Seconds for which a lease check is valid for further calls."""

_CHECK = """
SELECT engine.is_live(%s, %s, %s), EXISTS (SELECT FROM engine.paused_queues WHERE queue_name = %s)
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
    takes_more: bool = True
    """False once it must not take more waiting events of its share (`joining`)."""
    began_at: float = field(default_factory=_clock)

    @property
    def makes_room(self) -> bool:
        """Whether this delivery must yield and begins no further call. Every delivery begins at least one."""
        return self.has_begun and self.running is not None and self.running.must_yield

    @property
    def spare(self) -> int:
        """How many of its calls wait for another call to end."""
        return sum(task.outcome is None and not task.begun for task in self.tasks)

    @property
    def may_take_more(self) -> bool:
        """Whether it may take more waiting events of its share: an untried row with one concurrency limit."""
        return (
            self.takes_more
            and not self.makes_room
            and not self.delivery.attempts
            and len(self.limits) == 1
            and _clock() - self.began_at < LONGEST_S
        )

    @property
    def room(self) -> int:
        """How many more events the next commit may take: none while enough calls wait to use its slots at once."""
        spare = self.spare
        return self.effect.batch_size - spare if spare < self.effect.at_once and self.may_take_more else 0

    def note_saturation(self) -> None:
        """Note for the worker whether it needs to fetch rows of this share. If not, this delivery takes them."""
        if self.running is None:
            return
        usable = min(len(self.tasks), self.effect.at_once)
        is_full = all(held == limit.most or held < usable for limit, held in self.limits.items())
        self.running.saturate(is_saturated=bool(self.tasks) and self.may_take_more and is_full)

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


def event_of(queued: QueuedEvent) -> Event[Any]:
    """Return the event of a queued event that is readable. Raises `TypeError` otherwise."""
    if not isinstance(queued.event, Event):
        raise TypeError(queued.event.reason)
    return queued.event
