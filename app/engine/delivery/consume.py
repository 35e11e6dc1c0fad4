"""Consume: claim, ledger, handle, publish, acknowledge; one commit for all of it.

The fast path is one transaction for the delivery's row and up to 500 waiting siblings. If anything in it raises, it
is rolled back and `bisect` finds the events that fail and applies the others, each part in a transaction of its own.
(Savepoints in one transaction would lock jobs out of id order.) Whatever happens, every
commit leaves each event either waiting, applied, put back or buried, and never two of these.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import structlog
from psycopg.rows import class_row

from app.context import Connection
from app.engine.delivery import unknown
from app.engine.delivery.apply import apply, refusal
from app.engine.delivery.bisect import ROUTE, Bisect, set_aside
from app.engine.delivery.engine import Engine
from app.engine.delivery.locked import find_locked
from app.engine.delivery.patience import limits, patiently
from app.engine.delivery.retry import is_disconnect
from app.engine.delivery.settle import settle
from app.engine.domain import Policy
from app.engine.queue.envelope import Letter, Row, open_rows
from app.engine.queue.lease import Delivery, LeaseLost
from app.engine.queue.publish import put_back
from app.settings import settings
from events import Event

log = structlog.get_logger(__name__)

_CLAIM = """
SELECT taken.row_id, taken.args
  FROM set_config('lock_timeout', %s, true) wait, set_config('statement_timeout', %s, true) work,
       engine.claim(%s, %s, %s, %s) taken
"""
_MOST_RESCUED = "SELECT coalesce(max(rescues), 0) FROM engine.event_rescues WHERE event_id = ANY(%s)"
_PARTS = 16
"""Parts of a batch whose worker died: enough for several workers, and 500 events are single ones after two steps."""


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
        applied = _search(engine, delivery, letters, error)
    log.debug("delivered", events=len(letters), applied=applied, seconds=round(time.monotonic() - started, 4))
    return applied


def _deliver(engine: Engine, delivery: Delivery, limit: int, letters: list[Letter]) -> int:
    with engine.pool.connection() as connection, connection.transaction():
        lease = [*limits(), delivery.row_id, delivery.attempts, delivery.worker_id, limit]
        rows = connection.cursor(row_factory=class_row(Row)).execute(_CLAIM, lease).fetchall()
        if not rows:
            raise LeaseLost
        letters[:] = open_rows(rows)
        if delivery.attempts and len(letters) > 1:
            return _unpack(connection, letters)
        return apply(connection, _without_locked(connection, engine, letters))


def _without_locked(connection: Connection, engine: Engine, letters: list[Letter]) -> list[Letter]:
    """Set those letters aside whose rows were locked a while ago and still are; the others."""
    if not engine.locked.concerns(letters):
        return letters
    found = find_locked(connection, letters)
    engine.locked.note(found)
    for place, some in found.locked.items():
        set_aside(connection, some, place.error)
    return found.free(letters)


def _unpack(connection: Connection, letters: Sequence[Letter]) -> int:
    # A parcel whose worker died may hold an event that kills workers: it is split until that event stands alone.
    letters = unknown.take_out(connection, letters, refusal, lambda: ROUTE)
    whole = [(letter.event, letter.raw) for letter in letters if isinstance(letter.event, Event)]
    rescued = connection.execute(_MOST_RESCUED, [[event.id for event, _ in whole]]).fetchone()
    # Another death in its company must not bury an event.
    parts = _PARTS if rescued and rescued[0] < settings().most_rescues else max(1, len(whole))
    size = max(1, -(-len(whole) // parts))
    put_back(connection, whole, delay=0, attempt=letters[0].attempt if letters else 0, parcel=size)
    return 0


def _search(engine: Engine, delivery: Delivery, letters: list[Letter], error: Exception) -> int:
    """After a failure: end the events that fail, apply the others; returns how many were applied."""
    own = [letter for letter in letters if letter.row_id == delivery.row_id]
    search = Bisect(engine, delivery, own, apply=apply, end=lambda why: partial(_end, engine.policy, why))
    return search.judge(letters, error)


def _end(policy: Policy, error: Exception, connection: Connection, letters: Sequence[Letter]) -> int:
    return settle(connection, policy, unknown.take_out(connection, letters, refusal, lambda: ROUTE), error)
