"""Apply events in the caller's transaction: enter them into the ledger, run their handlers, publish the results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from app import tracing
from app.context import Connection, HandlerContext
from app.engine import metrics
from app.engine.delivery import bury, unknown
from app.engine.delivery.bisect import ROUTE
from app.engine.delivery.ledger import enter
from app.engine.domain import Wiring, wiring
from app.engine.queue import ordering
from app.engine.queue.distinct import Ids
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish_all
from app.engine.routing import EVENTS_QUEUE
from app.engine.subscribers import copies
from events import Event, Payload


def apply(connection: Connection, queued_events: Sequence[QueuedEvent]) -> int:
    """Apply every event that is not in the ledger, in the caller's transaction. Returns how many were applied.

    In the same transaction, unreadable events are buried, or wait for a worker that knows them. An event with the id of
    a different event is buried. A sequenced event that is not next in order is held. A copy of each applied event is
    published for each subscriber to its type that wants it. Raises `ReusedId` if handlers publish two different events
    with one id.
    """
    queued_events = unknown.take_out(connection, queued_events, refusal, lambda: ROUTE)
    queued_events = ordering.take_next(connection, queued_events, partial(bury.bury_others, connection))
    fresh = enter(connection, queued_events)
    others = bury.bury_reused(connection, queued_events, fresh)
    context = HandlerContext.begin(connection)
    table = wiring()
    kinds = sorted({type(event.data) for event in fresh}, key=lambda payload: payload.type)
    if len(kinds) > 1:
        # Each handler locks its rows in one order; two handlers one after the other would break that order.
        table.lock(connection, fresh)
    published = Ids()
    with _span(fresh, kinds):
        for kind in kinds:
            _handle(context, table, kind, [event for event in fresh if type(event.data) is kind], published)
    published.check()
    # A dead event keeps its position.
    kept = {other.queued for other in others if other.place == "dead"}
    ordering.leave(connection, [queued for queued in queued_events if queued not in kept])
    return len(fresh)


def _handle(
    context: HandlerContext, table: Wiring, kind: type[Payload], events: list[Event[Any]], published: Ids
) -> None:
    """Run the handler of one type, and publish its results and the subscribers' copies."""
    began = time.perf_counter()
    publish_all(context.connection, table.handlers[kind](context, events), ids=published)
    if subscribed := table.subscriptions.get(kind):
        copied = copies(context.connection, subscribed, table.interests, events)
        publish_all(context.connection, copied, ids=published)
    waited = (context.now - events[0].time).total_seconds()
    metrics.handled(kind.type, len(events), waited=waited, seconds=time.perf_counter() - began)


def _span(events: Sequence[Event[Any]], kinds: Sequence[type[Payload]]) -> AbstractContextManager[object]:
    """Return the span of a delivery: of one event, in the trace of that event; of a batch, with links."""
    if not events:
        return nullcontext()
    what = kinds[0].type if len(kinds) == 1 else EVENTS_QUEUE
    return tracing.delivery(what, EVENTS_QUEUE, events)


def refusal(event: Event[Any]) -> str | None:
    """Return why this program has no handler for an event; None if it has one."""
    if type(event.data) in wiring().handlers:
        return None
    what = "is an effect" if type(event.data) in wiring().effects else "has no handler or effect"
    return f"type: {event.type} {what}, it has no handler in this program"
