"""Bisect: find the events of a failed batch that cannot be applied, and apply the others.

Every part is applied in a transaction of its own. What is locked by another session is set aside with all events that
need the same row. What takes too long goes back into the queue in parts, so that other deliveries can take them, and
no delivery spends much more time than one statement may take.
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
from app.engine.delivery import aside, locked
from app.engine.delivery.patience import limit_waits, patiently
from app.engine.delivery.retry import is_disconnect, spends_nothing
from app.engine.queue import ordering
from app.engine.queue.envelope import Letter, Since, remembered
from app.engine.queue.lease import Delivery, LeaseLost, hold, release, take_siblings
from app.engine.queue.publish import put_aside
from app.engine.routing import EVENTS_PRIORITY, EVENTS_QUEUE, PARCEL, Route
from app.errors import GuiltyEvents
from app.settings import settings

if TYPE_CHECKING:
    from app.engine.delivery.engine import Engine

log = structlog.get_logger(__name__)

ROUTE = Route(EVENTS_QUEUE, EVENTS_PRIORITY, PARCEL)
_PARTS = 8
"""Rows into which a batch goes back that took too long."""
_MOST_WAITS = 4
"""Times that one delivery waits in vain for a lock before it sets everything aside that is left."""

Act = Callable[[Connection, Sequence[Letter]], int]
"""What is done with letters in the transaction that takes them out of the queue; returns how many were applied."""


class Bisect:
    """One delivery's search. `left`: what its own row still holds; siblings are rows of their own."""

    def __init__(
        self, engine: Engine, delivery: Delivery, own: list[Letter], *, apply: Act, end: Callable[[Exception], Act]
    ) -> None:
        self.engine = engine
        self.delivery = delivery
        self.left = own
        self.apply = apply
        self.end = end
        self.waits = 0
        self.stuck: dict[locked.Place, Exception] = {}
        self.deadline = time.monotonic() + settings().handler_timeout

    def judge(self, letters: list[Letter], error: Exception) -> int:
        """`letters`, and no others, failed together with `error`: end those that it names, try the others in parts."""
        if isinstance(error, pg.LockNotAvailable):
            return self._judge_locked(letters, error)
        if spends_nothing(error) or len(letters) == 1:
            return self._each_row(letters, self.end(error))
        if isinstance(error, GuiltyEvents) and (named := self._named(letters, error)):
            others = [letter for letter in letters if letter.event_id not in named]
            ended = sum(
                self._attempt([letter], self.end(named[letter.event_id]))
                for letter in letters
                if letter.event_id in named
            )
            return ended + self._each_row(others)
        if isinstance(error, pg.QueryCanceled) or time.monotonic() > self.deadline:
            return self._each_row(letters, lambda connection, some: _scatter(connection, some, error))
        parts = self._by_row(letters)
        if len(parts) == 1:
            middle = len(letters) // 2
            parts = [letters[:middle], letters[middle:]]
        return sum(self._attempt(part) for part in parts)

    def _judge_locked(self, letters: list[Letter], error: Exception) -> int:
        """Set the events aside whose rows are locked; where it is not known which those are, try row by row."""
        self.waits += 1
        with self.engine.pool.connection() as connection, connection.transaction():
            limit_waits(connection)
            found = locked.find_locked(connection, letters)
        self.engine.locked.note(found)
        if found.locked:
            # The others first.
            applied = self._each_row(found.free(letters))
            return applied + sum(self._each_row(some, _set_aside(place.error)) for place, some in found.locked.items())
        # A lock that no probe sees costs a wait for each row, so not many of those are tried.
        groups = locked.by_place(letters)
        if len(groups) == 1:
            self.stuck |= dict.fromkeys(groups, error)
        parts = [(place, part) for place, some in groups.items() for part in self._by_row(some)]
        return sum(self._attempt(part, self._unless_stuck(place, error)) for place, part in parts)

    def _unless_stuck(self, place: locked.Place, error: Exception) -> Act | None:
        """Set the events of a row aside that could not be locked; None: they may be tried."""
        if place in self.stuck:
            return _set_aside(self.stuck[place])
        return _set_aside(error) if self.waits >= _MOST_WAITS else None

    def _each_row(self, letters: list[Letter], act: Act | None = None) -> int:
        return sum(self._attempt(part, act) for part in self._by_row(letters))

    def _attempt(self, letters: list[Letter], act: Act | None = None) -> int:
        """Do something with some letters in one transaction; apply them if it is not said what."""
        try:
            return patiently(lambda: self._commit(letters, act or self.apply))
        except LeaseLost:
            log.info("lease lost", row=self.delivery.row_id)
            return 0
        except Exception as error:
            if act is not None or is_disconnect(error):
                raise
            return self.judge(letters, error)

    def _by_row(self, letters: list[Letter]) -> list[list[Letter]]:
        """The delivery's own letters and its siblings', which no transaction of the search may mix."""
        own = [letter for letter in letters if letter.row_id == self.delivery.row_id]
        siblings = [letter for letter in letters if letter.row_id != self.delivery.row_id]
        return [part for part in (own, siblings) if part]

    def _commit(self, letters: list[Letter], act: Act) -> int:
        own = letters[0].row_id == self.delivery.row_id
        with self.engine.pool.connection() as connection, connection.transaction():
            left = [letter for letter in self.left if letter not in letters]
            if own:
                hold(connection, self.delivery)
                release(connection, self.delivery, left)
            else:
                letters = take_siblings(connection, letters)
            limit_waits(connection)
            count = act(connection, letters)
        if own:
            self.left = left
        return count

    @staticmethod
    def _named(letters: list[Letter], error: GuiltyEvents) -> dict[UUID | None, Exception]:
        here = {letter.event_id for letter in letters}
        return {event_id: GuiltyEvents({event_id: why}) for event_id, why in error.reasons.items() if event_id in here}


def set_aside(connection: Connection, letters: Sequence[Letter], error: Exception) -> None:
    """Put letters back together whose rows are locked, in the transaction that takes them; they spend no attempt."""
    if letters:
        ordering.keep_places(connection, letters)
        delay = aside.set_aside(connection, ROUTE, letters, error, longest=locked.LONGEST_DELAY_S)
        log.info("set aside", events=len(letters), delay=round(delay, 1), why=str(error))


def _set_aside(error: Exception) -> Act:
    def act(connection: Connection, letters: Sequence[Letter]) -> int:
        set_aside(connection, letters, error)
        return 0

    return act


def _scatter(connection: Connection, letters: Sequence[Letter], error: Exception) -> int:
    """Put letters back that took too long together, in parts; they spend no attempt."""
    ordering.keep_places(connection, letters)
    now = aside.database_now(connection)
    size = math.ceil(len(letters) / _PARTS)
    route = Route(EVENTS_QUEUE, EVENTS_PRIORITY, size)
    for attempt in sorted({letter.attempt for letter in letters}):
        raws = [letter.raw for letter in letters if letter.attempt == attempt]
        put_aside(connection, route, raws, Since(remembered(error), now), delay=0, attempt=attempt)
    log.warning("put back in parts", events=len(letters), size=size, why=str(error))
    return 0
