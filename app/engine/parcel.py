"""A parcel of effects under way: its tasks, its lease, and how letters of it go back into the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.consume import Engine
from app.engine.delivery import Delivery, LeaseLost, Letter
from app.engine.publish import put_back
from app.engine.registry import Call, Effect, Lane, Prepared
from events import Event, Payload

_LEASE_IS_FRESH = 1.0
"""Seconds for which a lease that was just looked at needs no second look before a call."""

_OVER = "DELETE FROM engine.calls WHERE event_id = ANY(%s)"
_IS_LIVE = "SELECT engine.is_live(%s, %s, %s)"
_LIVE = "SELECT event_id FROM engine.calls c WHERE event_id = ANY(%s) AND engine.is_live(row_id, attempts, worker_id)"
_IN_HAND = """
SELECT EXISTS (
    SELECT FROM engine.calls c
     WHERE c.event_id = ANY(%(events)s)
       AND (engine.is_live(c.row_id, c.attempts, c.worker_id) OR c.ask_after > clock_timestamp()
            OR c.ask_after IS NULL AND EXISTS (
               SELECT FROM engine.rescues r
                WHERE r.row_id = c.row_id AND r.at > clock_timestamp() - %(settle)s * interval '1 second')))
"""
# Row 0 is no delivery's. Where a call was begun before, its row is locked and stays as it is.
_SEIZE = """
INSERT INTO engine.calls AS c (event_id, row_id, attempts)
SELECT event_id, 0, 0 FROM unnest(%s::uuid[]) AS wanted (event_id) ORDER BY event_id
ON CONFLICT (event_id) DO UPDATE SET row_id = c.row_id
RETURNING event_id, engine.is_live(row_id, attempts, worker_id)
"""


def _clock() -> float:
    # One that goes on while the machine sleeps, where there is one: a monotonic clock would not notice.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(slots=True, eq=False)
class Lease:
    """What tells a delivery that it is still its own, without asking all the time."""

    engine: Engine
    delivery: Delivery
    looked_at: float = field(default_factory=_clock)

    async def still_mine(self) -> None:
        """Raise `LeaseLost` if the row was given to another worker, who may be making the same calls.

        Looks only if it did not a moment ago. A worker that was stopped and goes on finds that it did not.
        """
        if _clock() - self.looked_at > _LEASE_IS_FRESH:
            await asyncio.to_thread(self._look)

    def _look(self) -> None:
        looked_at = _clock()
        mine = self.delivery
        with self.engine.pool.connection() as connection:
            row = connection.execute(_IS_LIVE, [mine.row_id, mine.attempts, mine.worker_id]).fetchone()
        if row is None or not row[0]:
            raise LeaseLost
        self.looked_at = looked_at


@dataclass(slots=True, eq=False)
class Task:
    """One event of the parcel on its way through: what its call needs, and what came of it."""

    letter: Letter
    event: Event[Any]
    prepared: Prepared
    call: Call
    lane: Lane | None
    begun: bool = False
    outcome: Payload | Exception | None = None


@dataclass(slots=True, eq=False)
class Parcel:
    """A delivery of effects under way.

    `tasks` are those without a recorded outcome; `lanes` tells how many of them may be called at once.
    """

    engine: Engine
    delivery: Delivery
    effect: Effect
    tasks: list[Task]
    lanes: dict[Lane, int]
    lease: Lease


def again(connection: Connection, letters: Sequence[Letter], delay: float = 0.0, parcel: int = 1) -> list[int]:
    """Put letters back with the attempts they had, alone or sharing a `parcel`; returns the ids of the new rows."""
    rows: list[int] = []
    for attempt in sorted({letter.attempt for letter in letters}):
        same = [(event_of(letter), letter.raw) for letter in letters if letter.attempt == attempt]
        rows += put_back(connection, same, delay=delay, attempt=attempt, parcel=parcel)
    return rows


def end_calls(connection: Connection, event_ids: Sequence[UUID]) -> None:
    """The calls of these events are over: whoever finds one begun from now on begins it himself."""
    if event_ids:
        connection.execute(_OVER, [list(event_ids)])


def in_hand(connection: Connection, event_ids: Sequence[UUID], settle: float) -> bool:
    """Whether the call of one of these events is under way, or ended without a word less than `settle` seconds ago."""
    row = connection.execute(_IN_HAND, {"events": list(event_ids), "settle": settle}).fetchone()
    return row is not None and bool(row[0])


def live(connection: Connection, event_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these events whose call a live delivery has in hand."""
    return {event_id for (event_id,) in connection.execute(_LIVE, [list(event_ids)])}


def seize_calls(connection: Connection, event_ids: Sequence[UUID]) -> set[UUID]:
    """See to it that no call of these events is begun until the transaction ends; those that are not `live()`.

    Whoever is about to begin one waits, and then looks into the ledger. `end_calls()` those that are returned.
    """
    return {event_id for event_id, is_live in connection.execute(_SEIZE, [list(event_ids)]) if not is_live}


def event_of(letter: Letter) -> Event[Any]:
    """The event of a letter that is known to hold one."""
    if not isinstance(letter.event, Event):
        raise TypeError(letter.event.reason)
    return letter.event
