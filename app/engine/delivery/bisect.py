"""Bisect a failed batch: find the events that cannot be applied, and apply the others.

Each part is applied in its own transaction. Events whose row another session has locked are set aside together. A batch
that takes too long is requeued in parts, so that other deliveries can take them: no delivery lasts much longer than one
statement may.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from psycopg import errors as pg

from app.context import Connection
from app.engine import metrics
from app.engine.delivery import aside, locked
from app.engine.delivery.retry import is_disconnect, spends_nothing
from app.engine.delivery.transactions import retry_on_conflict, set_timeouts
from app.engine.queue import ordering
from app.engine.queue.envelope import QueuedEvent, Since, remembered
from app.engine.queue.lease import Delivery, LeaseLost, acknowledge, lock_delivery, take_siblings
from app.engine.queue.publish import put_aside
from app.engine.routing import EVENTS_PRIORITY, EVENTS_QUEUE, MOST_IN_A_ROW, Route
from app.errors import FailingEvents
from app.settings import settings

if TYPE_CHECKING:
    from app.engine.delivery.engine import Engine

log = structlog.get_logger(__name__)

ROUTE = Route(EVENTS_QUEUE, EVENTS_PRIORITY, MOST_IN_A_ROW)
_PARTS = 8
"""Rows into which a batch that took too long is split."""
_MOST_WAITS = 4
"""Lock time-outs after which one delivery sets all remaining events aside."""

Act = Callable[[Connection, Sequence[QueuedEvent]], int]
"""Applies or ends events in the transaction that acknowledges them. Returns how many were applied."""


class Bisect:
    """The bisection of one delivery. `left`: events still in its own row; siblings have their own rows."""

    def __init__(
        self, engine: Engine, delivery: Delivery, own: list[QueuedEvent], *, apply: Act, end: Callable[[Exception], Act]
    ) -> None:
        self.engine = engine
        self.delivery = delivery
        self.left = own
        self.apply = apply
        self.end = end
        self.waits = 0
        self.stuck: dict[locked.LockTarget, Exception] = {}
        self.deadline = time.monotonic() + settings().handler_timeout

    def run(self, queued_events: list[QueuedEvent], error: Exception) -> int:
        """Process `queued_events`, which failed together with `error`. Returns how many were applied.

        Events that the error names are ended; the others are tried in parts.
        """
        if isinstance(error, pg.LockNotAvailable):
            return self._set_aside_locked(queued_events, error)
        if spends_nothing(error) or len(queued_events) == 1:
            return self._each_row(queued_events, self.end(error))
        if isinstance(error, FailingEvents) and (named := self._named(queued_events, error)):
            others = [queued for queued in queued_events if queued.event_id not in named]
            ended = sum(
                self._attempt([queued], self.end(named[queued.event_id]))
                for queued in queued_events
                if queued.event_id in named
            )
            return ended + self._each_row(others)
        if isinstance(error, pg.QueryCanceled) or time.monotonic() > self.deadline:
            return self._each_row(queued_events, lambda connection, some: _scatter(connection, some, error))
        parts = self._by_row(queued_events)
        if len(parts) == 1:
            middle = len(queued_events) // 2
            parts = [queued_events[:middle], queued_events[middle:]]
        return sum(self._attempt(part) for part in parts)

    def _set_aside_locked(self, queued_events: list[QueuedEvent], error: Exception) -> int:
        """Set aside the events whose rows are locked. If those are unknown, try the events row by row."""
        self.waits += 1
        with self.engine.transaction() as connection:
            set_timeouts(connection)
            found = locked.find_locked(connection, queued_events)
        self.engine.locked.update(found)
        if found.locked:
            # Apply the others first.
            applied = self._each_row(found.free(queued_events))
            return applied + sum(
                self._each_row(some, _set_aside(target.error)) for target, some in found.locked.items()
            )
        # A lock that no probe finds costs a lock time-out for each row, so only a few rows are tried.
        groups = locked.by_lock_target(queued_events)
        if len(groups) == 1:
            self.stuck |= dict.fromkeys(groups, error)
        parts = [(target, part) for target, some in groups.items() for part in self._by_row(some)]
        return sum(self._attempt(part, self._unless_stuck(target, error)) for target, part in parts)

    def _unless_stuck(self, target: locked.LockTarget, error: Exception) -> Act | None:
        """Return the act that sets aside a row's events, if the row could not be locked; None if they may be tried."""
        if target in self.stuck:
            return _set_aside(self.stuck[target])
        return _set_aside(error) if self.waits >= _MOST_WAITS else None

    def _each_row(self, queued_events: list[QueuedEvent], act: Act | None = None) -> int:
        return sum(self._attempt(part, act) for part in self._by_row(queued_events))

    def _attempt(self, queued_events: list[QueuedEvent], act: Act | None = None) -> int:
        """Run `act` (default: apply) on events in one transaction. Returns how many events were applied."""
        try:
            return retry_on_conflict(lambda: self._commit(queued_events, act or self.apply))
        except LeaseLost:
            log.info("lease lost", row=self.delivery.row_id)
            return 0
        except Exception as error:
            if act is not None or is_disconnect(error):
                raise
            return self.run(queued_events, error)

    def _by_row(self, queued_events: list[QueuedEvent]) -> list[list[QueuedEvent]]:
        """Split events into the delivery's own and its siblings': no transaction may contain both."""
        own = [queued for queued in queued_events if queued.row_id == self.delivery.row_id]
        siblings = [queued for queued in queued_events if queued.row_id != self.delivery.row_id]
        return [part for part in (own, siblings) if part]

    def _commit(self, queued_events: list[QueuedEvent], act: Act) -> int:
        own = queued_events[0].row_id == self.delivery.row_id
        with self.engine.transaction() as connection:
            left = [queued for queued in self.left if queued not in queued_events]
            if own:
                lock_delivery(connection, self.delivery)
                acknowledge(connection, self.delivery, left)
            else:
                queued_events = take_siblings(connection, queued_events)
            set_timeouts(connection)
            count = act(connection, queued_events)
        if own:
            self.left = left
        return count

    @staticmethod
    def _named(queued_events: list[QueuedEvent], error: FailingEvents) -> dict[UUID | None, Exception]:
        here = {queued.event_id for queued in queued_events}
        return {event_id: FailingEvents({event_id: why}) for event_id, why in error.reasons.items() if event_id in here}


def set_aside(connection: Connection, queued_events: Sequence[QueuedEvent], error: Exception) -> None:
    """Requeue events whose rows are locked, together, in the caller's transaction. They spend no attempt."""
    if queued_events:
        ordering.keep_positions(connection, queued_events)
        delay = aside.set_aside(connection, ROUTE, queued_events, error, longest=locked.LONGEST_DELAY_S)
        metrics.put_back((queued.type for queued in queued_events), "locked")
        log.info("set aside", events=len(queued_events), delay=round(delay, 1), why=str(error))


def _set_aside(error: Exception) -> Act:
    def act(connection: Connection, queued_events: Sequence[QueuedEvent]) -> int:
        set_aside(connection, queued_events, error)
        return 0

    return act


def _scatter(connection: Connection, queued_events: Sequence[QueuedEvent], error: Exception) -> int:
    """Requeue events that took too long together, in parts. They spend no attempt."""
    ordering.keep_positions(connection, queued_events)
    now = aside.database_now(connection)
    size = math.ceil(len(queued_events) / _PARTS)
    route = Route(EVENTS_QUEUE, EVENTS_PRIORITY, size)
    for attempt in sorted({queued.attempt for queued in queued_events}):
        raws = [queued.raw for queued in queued_events if queued.attempt == attempt]
        put_aside(connection, route, raws, Since(remembered(error), now), delay=0, attempt=attempt)
    log.warning("put back in parts", events=len(queued_events), size=size, why=str(error))
    return 0
