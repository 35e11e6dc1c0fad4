"""Prepare the calls of events that a delivery has marked as begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from app.context import Connection, HandlerContext
from app.engine import metrics
from app.engine.delivery import bury
from app.engine.delivery.ledger import enter as enter_ledger
from app.engine.domain import Call, ConcurrencyLimit, Effect
from app.engine.effects.batch import Lease, Task, event_of
from app.engine.effects.calls import end_calls
from app.engine.queue.envelope import QueuedEvent


def prepare(
    connection: Connection,
    lease: Lease,
    effect: Effect,
    begun: Sequence[tuple[QueuedEvent, bool]],
    bound: Mapping[UUID, ConcurrencyLimit],
) -> list[Task]:
    """Return the tasks of the events that the effect still wants. The others are obsolete and entered as applied."""
    queued_events = {event_of(queued).id: (queued, in_doubt) for queued, in_doubt in begun}
    prepared = list(effect.prepare(HandlerContext.begin(connection), [event_of(queued) for queued, _ in begun]))
    tasks = []
    for wanted in prepared:
        queued, in_doubt = queued_events.pop(wanted.event.id)
        is_last = (effect.policy or lease.engine.policy).is_last(queued.attempt)
        call = Call(in_doubt, queued.attempt, is_last, partial(lease.recheck, wanted))
        tasks.append(Task(queued, wanted.event, effect.key(wanted.event), wanted, call, bound.get(wanted.event.id)))
    obsolete = [queued for queued, _ in queued_events.values()]
    entered = enter_ledger(connection, obsolete)
    metrics.applied(event.type for event in entered)
    bury.bury_reused(connection, obsolete, entered)
    end_calls(connection, [effect.key(event_of(queued)) for queued in obsolete])
    return tasks
