"""Joining: take more waiting events into a running delivery of effects, in the commit that records outcomes.

The slots of the delivery then go from call to call. Otherwise each row takes three transactions for them: one frees the
slots and wakes a parked row, one fetches the row, one claims it and takes the slots.

Only untried events join, of the delivery's own share, type and concurrency limit, whose calls no delivery has begun.
All others get a delivery of their own. To let the next one have its slots, the running delivery then takes no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.delivery.transactions import timeouts
from app.engine.domain import ConcurrencyLimit
from app.engine.effects import prepare as preparing
from app.engine.effects.batch import EffectBatch, Task, event_of
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from app.engine.queue.lease import LeaseLost
from events import Event

_HOLD = """
SELECT row_id, args, is_refused
  FROM engine.hold_delivery(%(row_id)s, %(attempts)s, %(worker_id)s, %(limits)s, %(calls)s, %(more)s, %(lock_timeout)s)
"""
_BEGIN = """
SELECT engine.begin_joining(%(row_id)s, %(attempts)s, %(worker_id)s, %(calls)s, %(events)s, %(limits)s)
"""


class CannotJoin(Exception):
    """A waiting event that was taken needs a delivery of its own. Its transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class Joining:
    """Events that join a delivery, with their concurrency limits by event id.

    `is_refused`: the next waiting row needs a delivery of its own.
    """

    queued_events: Sequence[QueuedEvent] = ()
    limits: Mapping[UUID, ConcurrencyLimit] = field(default_factory=lambda: MappingProxyType({}))
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class _Taken:
    row_id: int | None
    args: str | None
    is_refused: bool


def hold(connection: Connection, batch: EffectBatch, more: int) -> Joining:
    """Lock a delivery's limits, row and calls until the transaction ends, and take up to `more` waiting events.

    Marks the calls of the events as begun. Raises `LeaseLost`, and `CannotJoin`. With `more`, the transaction waits for
    a lock as long as a claim does.
    """
    wanted = {
        **asdict(batch.delivery),
        "limits": [limit.key for limit in sorted(batch.limits)],
        "calls": [task.key for task in batch.tasks],
        "more": more,
        "lock_timeout": timeouts()[0],
    }
    rows = connection.cursor(row_factory=class_row(_Taken)).execute(_HOLD, wanted).fetchall()
    if not rows:
        raise LeaseLost
    taken = [Row(row.row_id, row.args) for row in rows if row.row_id is not None and row.args is not None]
    is_refused = rows[-1].is_refused
    return _begin(connection, batch, open_rows(taken), is_refused=is_refused) if taken else Joining((), {}, is_refused)


def prepare(connection: Connection, batch: EffectBatch, joins: Joining) -> list[Task]:
    """Prepare the calls of events that join. Returns the tasks of those that the effect still wants."""
    begun = [(queued, False) for queued in joins.queued_events]
    return preparing.prepare(connection, batch.lease, batch.effect, begun, joins.limits) if begun else []


def _begin(
    connection: Connection, batch: EffectBatch, queued_events: Sequence[QueuedEvent], *, is_refused: bool
) -> Joining:
    effect, kind = batch.effect, type(batch.tasks[0].event.data)
    readable = [queued for queued in queued_events if isinstance(queued.event, Event)]
    events = [event_of(queued) for queued in readable if type(event_of(queued).data) is kind]
    if len(events) < len(queued_events) or batch.engine.locked.concerns(queued_events):
        raise CannotJoin
    limits = effect.limits(connection, events) if effect.limits else {}
    if any(limits.get(event.id) not in batch.limits for event in events):
        raise CannotJoin
    wanted = {
        **asdict(batch.delivery),
        "calls": [effect.key(event) for event in events],
        "events": [event.id for event in events],
        "limits": [limit.key for limit in batch.limits],
    }
    begun = connection.execute(_BEGIN, wanted).fetchone()
    if begun is None or not begun[0]:
        raise CannotJoin
    return Joining(queued_events, limits, is_refused)
