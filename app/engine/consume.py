"""Consume: claim, ledger, handle, publish, acknowledge; one commit for all of it.

The fast path is one transaction for the delivery's row and up to 500 waiting siblings. If anything in it raises, it
is rolled back and the list is halved until the guilty event stands alone and the innocent are applied, each part in
a transaction of its own. (Savepoints in one transaction would lock jobs out of id order.) Whatever happens, every
commit leaves each event either waiting, applied, put back or buried, and never two of these.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never
from uuid import UUID

import structlog
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from app.context import Connection, Moment
from app.engine import dead_letters, sequence, unknown
from app.engine.delivery import Delivery, LeaseLost, Letter, Row, hold, open_rows, release, remembered, take_siblings
from app.engine.distinct import Ids
from app.engine.ledger import record, refusal, reused
from app.engine.pace import Pace
from app.engine.publish import publish_all, put_back
from app.engine.registry import EVENTS_PRIORITY, EVENTS_QUEUE, PARCEL, Route, wiring
from app.engine.retry import Bury, Policy, PutBack, decide, is_conflict, is_disconnect, spends_nothing
from app.errors import GuiltyEvents
from app.settings import settings
from events import Event

log = structlog.get_logger(__name__)

_CLAIM = "SELECT row_id, args FROM engine.claim(%s, %s, %s, %s)"
_MOST_RESCUED = "SELECT coalesce(max(rescues), 0) FROM engine.event_rescues WHERE event_id = ANY(%s)"
_FREE_RETRIES = 5
_PARTS = 16
"""Parts of a batch whose worker died: enough for several workers, and 500 events are single ones after two steps."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What a worker's deliveries share: connections, how errors are answered, and how much a delivery takes along."""

    pool: ConnectionPool[Connection]
    policy: Policy = field(default_factory=Policy)
    pace: Pace = field(default_factory=Pace)


def consume(engine: Engine, delivery: Delivery, *, siblings: bool) -> int:
    """Deliver a row, with its waiting `siblings` if it is a single event that nobody tried before.

    Returns how many events were applied. Returns quietly when the row is no longer this delivery's. Raises only
    when no transaction could be committed, because the database was away.
    """
    started = time.monotonic()
    limit = engine.pace.siblings() if siblings and delivery.attempts == 0 else 0
    letters: list[Letter] = []
    try:
        applied = patiently(lambda: _deliver(engine, delivery, limit, letters))
        engine.pace.note(len(letters), time.monotonic() - started)
    except LeaseLost:
        return 0
    except Exception as error:
        if is_disconnect(error) or not letters:
            raise
        applied = _settle(engine, delivery, letters, error)
    log.debug("delivered", events=len(letters), applied=applied, seconds=round(time.monotonic() - started, 4))
    return applied


def _deliver(engine: Engine, delivery: Delivery, limit: int, letters: list[Letter]) -> int:
    with engine.pool.connection() as connection, connection.transaction():
        lease = [delivery.row_id, delivery.attempts, delivery.worker_id, limit]
        rows = connection.cursor(row_factory=class_row(Row)).execute(_CLAIM, lease).fetchall()
        if not rows:
            raise LeaseLost
        letters[:] = open_rows(rows)
        if delivery.attempts and len(letters) > 1:
            return _unpack(connection, letters)
        return apply(connection, letters)


def _unpack(connection: Connection, letters: Sequence[Letter]) -> int:
    # A parcel whose worker died may hold an event that kills workers: it is split until that event stands alone.
    letters = unknown.take_out(connection, letters, _refusal, _route)
    whole = [(letter.event, letter.raw) for letter in letters if isinstance(letter.event, Event)]
    rescued = connection.execute(_MOST_RESCUED, [[event.id for event, _ in whole]]).fetchone()
    # Another death in its company must not bury an event.
    parts = _PARTS if rescued and rescued[0] < settings().most_rescues else max(1, len(whole))
    size = max(1, -(-len(whole) // parts))
    put_back(connection, whole, delay=0, attempt=letters[0].attempt if letters else 0, parcel=size)
    return 0


def apply(connection: Connection, letters: Sequence[Letter]) -> int:
    """Apply every letter that the ledger does not know, in the caller's transaction; returns how many those were.

    In the same transaction, events that cannot be read are buried, or wait for a worker that knows them; an event with
    the id of another one is buried; one that is sequenced and not next in its line is held. Raises `ReusedId` if
    handlers publish two events with one id.
    """
    letters = sequence.take_turns(connection, unknown.take_out(connection, letters, _refusal, _route))
    fresh = record(connection, letters)
    if len(fresh) < len(letters):
        dead_letters.bury_apart(connection, [(one, refusal(one)) for one in reused(connection, letters, fresh)])
    moment = Moment.begin(connection)
    handlers = wiring().handlers
    kinds = sorted({type(event.data) for event in fresh}, key=lambda payload: payload.type)
    if len(kinds) > 1:
        # Each handler locks what it needs, in order; one after the other they would not be in one.
        wiring().lock(connection, fresh)
    published = Ids()
    for kind in kinds:
        some = [event for event in fresh if type(event.data) is kind]
        publish_all(connection, handlers[kind](moment, some), ids=published)
    published.check()
    sequence.leave(connection, letters)
    return len(fresh)


def _refusal(event: Event[Any]) -> str | None:
    if type(event.data) in wiring().handlers:
        return None
    what = "is an effect" if type(event.data) in wiring().effects else "is served by nobody"
    return f"type: {event.type} {what}, it has no handler in this program"


def _route() -> Route:
    return Route(EVENTS_QUEUE, EVENTS_PRIORITY, PARCEL)


def _settle(engine: Engine, delivery: Delivery, letters: list[Letter], error: Exception) -> int:
    """After a failure: apply the innocent, end the guilty; returns how many were applied."""
    own = [letter for letter in letters if letter.row_id == delivery.row_id]
    return _Search(engine, delivery, own).judge(letters, error)


class _Search:
    """The search for the guilty. `left` is what the delivery's own row still holds; siblings are rows of their own."""

    def __init__(self, engine: Engine, delivery: Delivery, own: list[Letter]) -> None:
        self.engine = engine
        self.delivery = delivery
        self.left = own

    def judge(self, letters: list[Letter], error: Exception) -> int:
        """`letters`, and no others, failed together with `error`: end whom it names, try the others in parts."""
        if spends_nothing(error) or len(letters) == 1:
            return sum(self.attempt(part, error) for part in self._by_row(letters))
        if isinstance(error, GuiltyEvents) and (named := self._named(letters, error)):
            innocent = [letter for letter in letters if letter.event_id not in named]
            ended = sum(
                self.attempt([letter], named[letter.event_id]) for letter in letters if letter.event_id in named
            )
            return ended + sum(self.attempt(part) for part in self._by_row(innocent))
        parts = self._by_row(letters)
        if len(parts) == 1:
            middle = len(letters) // 2
            parts = [letters[:middle], letters[middle:]]
        return sum(self.attempt(part) for part in parts)

    def attempt(self, letters: list[Letter], verdict: Exception | None = None) -> int:
        """Apply some letters in one transaction, or end those that have a verdict."""
        try:
            return patiently(lambda: self._commit(letters, verdict))
        except LeaseLost:
            log.info("lease lost", row=self.delivery.row_id)
            return 0
        except Exception as error:
            if verdict is not None or is_disconnect(error):
                raise
            return self.judge(letters, error)

    def _by_row(self, letters: list[Letter]) -> list[list[Letter]]:
        """The delivery's own letters and its siblings', which no transaction of the search may mix."""
        own = [letter for letter in letters if letter.row_id == self.delivery.row_id]
        siblings = [letter for letter in letters if letter.row_id != self.delivery.row_id]
        return [part for part in (own, siblings) if part]

    def _commit(self, letters: list[Letter], verdict: Exception | None) -> int:
        own = letters[0].row_id == self.delivery.row_id
        with self.engine.pool.connection() as connection, connection.transaction():
            left = [letter for letter in self.left if letter not in letters]
            if own:
                hold(connection, self.delivery)
                release(connection, self.delivery, left)
            else:
                letters = take_siblings(connection, letters)
            count = end(connection, self.engine.policy, letters, verdict) if verdict else apply(connection, letters)
        if own:
            self.left = left
        return count

    @staticmethod
    def _named(letters: list[Letter], error: GuiltyEvents) -> dict[UUID | None, Exception]:
        here = {letter.event_id for letter in letters}
        return {event_id: GuiltyEvents({event_id: why}) for event_id, why in error.reasons.items() if event_id in here}


def end(
    connection: Connection, policy: Policy, letters: Sequence[Letter], error: Exception, *, at_least: float = 0.0
) -> int:
    """Put back or bury letters whose delivery failed, in the transaction that acknowledges them; applies none.

    What is put back waits `at_least` seconds.
    """
    sequence.keep_places(connection, letters)
    for letter in letters:
        decision = decide(error, letter.attempt, policy, random.random())
        match decision:
            case PutBack(delay, attempt) if isinstance(letter.event, Event):
                delay = max(delay, at_least)
                why = remembered(error)
                put_back(connection, [(letter.event, letter.raw)], delay=delay, attempt=attempt, error=why)
                log.info(
                    "put back", event_id=str(letter.event_id), attempt=attempt, delay=round(delay, 1), why=str(error)
                )
            case Bury() | PutBack():
                dead_letters.bury(connection, [(letter, error)])
                log.warning("buried", event_id=str(letter.event_id), error=type(error).__name__, why=str(error))
            case _:
                assert_never(decision)
    return 0


def patiently(transaction: Callable[[], int]) -> int:
    """Repeat a transaction that a deadlock or the like ended: that says nothing about its events."""
    for retry in range(_FREE_RETRIES):
        try:
            return transaction()
        except Exception as error:
            if not is_conflict(error) or retry == _FREE_RETRIES - 1:
                raise
            time.sleep(random.uniform(0, 0.05) * 2**retry)
    raise AssertionError
