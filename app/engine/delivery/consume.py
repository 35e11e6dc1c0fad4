"""Consume a delivery in one transaction: claim, enter into the ledger, handle, publish, acknowledge.

The fast path is one transaction for the delivery's row and up to 500 waiting siblings. If it raises, it is rolled back
and `bisect` finds the failing events and applies the others, each part in its own transaction. (Savepoints in one
transaction would lock jobs out of id order.) After every commit each event is in exactly one state: waiting, applied,
put back or buried.
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
from app.engine.delivery.retry import is_disconnect
from app.engine.delivery.settle import settle
from app.engine.delivery.transactions import retry_on_conflict, timeouts
from app.engine.domain import Policy
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
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
"""Parts of a batch whose worker crashed.

Several workers can share them, and two steps split 500 events into single ones.
"""


def consume(engine: Engine, delivery: Delivery, *, siblings: bool) -> int:
    """Deliver a row, with waiting `siblings` if it is a single event without earlier attempts.

    Returns how many events were applied; 0 if the lease is lost. Raises only if no transaction could commit because the
    database was unreachable.
    """
    started = time.monotonic()
    limit = engine.sibling_limit.current() if siblings and delivery.attempts == 0 else 0
    queued_events: list[QueuedEvent] = []
    try:
        applied = retry_on_conflict(lambda: _deliver(engine, delivery, limit, queued_events))
        engine.sibling_limit.adjust(len(queued_events), time.monotonic() - started)
    except LeaseLost:
        return 0
    except Exception as error:
        if is_disconnect(error) or not queued_events:
            raise
        applied = _search(engine, delivery, queued_events, error)
    log.debug("delivered", events=len(queued_events), applied=applied, seconds=round(time.monotonic() - started, 4))
    return applied


def _deliver(engine: Engine, delivery: Delivery, limit: int, queued_events: list[QueuedEvent]) -> int:
    with engine.transaction() as connection:
        lease = [*timeouts(), delivery.row_id, delivery.attempts, delivery.worker_id, limit]
        rows = connection.cursor(row_factory=class_row(Row)).execute(_CLAIM, lease).fetchall()
        if not rows:
            raise LeaseLost
        queued_events[:] = open_rows(rows)
        if delivery.attempts and len(queued_events) > 1:
            return _unpack(connection, queued_events)
        return apply(connection, _without_locked(connection, engine, queued_events))


def _without_locked(connection: Connection, engine: Engine, queued_events: list[QueuedEvent]) -> list[QueuedEvent]:
    """Set aside the events whose rows were locked recently and still are. Returns the others."""
    if not engine.locked.concerns(queued_events):
        return queued_events
    found = find_locked(connection, queued_events)
    engine.locked.update(found)
    for target, some in found.locked.items():
        set_aside(connection, some, target.error)
    return found.free(queued_events)


def _unpack(connection: Connection, queued_events: Sequence[QueuedEvent]) -> int:
    # A batch whose worker crashed may contain an event that crashes workers: split it until that event is alone.
    queued_events = unknown.take_out(connection, queued_events, refusal, lambda: ROUTE)
    whole = [(queued.event, queued.raw) for queued in queued_events if isinstance(queued.event, Event)]
    rescued = connection.execute(_MOST_RESCUED, [[event.id for event, _ in whole]]).fetchone()
    # An event must not be buried for a crash that another event of its batch causes.
    parts = _PARTS if rescued and rescued[0] < settings().most_rescues else max(1, len(whole))
    size = max(1, -(-len(whole) // parts))
    put_back(connection, whole, delay=0, attempt=queued_events[0].attempt if queued_events else 0, batch_size=size)
    return 0


def _search(engine: Engine, delivery: Delivery, queued_events: list[QueuedEvent], error: Exception) -> int:
    """Bisect after a failure: end the failing events, apply the others. Returns how many were applied."""
    own = [queued for queued in queued_events if queued.row_id == delivery.row_id]
    search = Bisect(engine, delivery, own, apply=apply, end=lambda why: partial(_end, engine.policy, why))
    return search.run(queued_events, error)


def _end(policy: Policy, error: Exception, connection: Connection, queued_events: Sequence[QueuedEvent]) -> int:
    return settle(connection, policy, unknown.take_out(connection, queued_events, refusal, lambda: ROUTE), error)
