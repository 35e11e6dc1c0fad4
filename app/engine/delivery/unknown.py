"""Unknown events: events that this version cannot deliver and another version can.

During a deployment, old workers receive types and versions that only new workers know. Such an event waits for up to
`TALLYMAN_UNKNOWN_PATIENCE` from its first such delivery, and is then buried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog

from app.context import Connection
from app.engine import metrics
from app.engine.delivery import bury
from app.engine.delivery.aside import database_now, set_aside, waited
from app.engine.queue import ordering
from app.engine.queue.envelope import QueuedEvent, one_of_each
from app.engine.routing import Route
from app.settings import settings
from events import Event, InvalidEvent, Unreadable

log = structlog.get_logger(__name__)

LONGEST_DELAY_S = 30.0

Refusal = Callable[[Event[Any]], str | None]
"""Returns why this worker does not serve an event's type in the delivering task; None if it does."""


class UnknownEvent(InvalidEvent):
    """Unknown event type or version, or no handler or effect for it in this task."""


def is_unknown(error: str) -> bool:
    """Whether a row's stored error means that its events wait for a worker that knows them."""
    return error.startswith(f"{UnknownEvent.__name__}: ")


def take_out(
    connection: Connection, queued_events: Sequence[QueuedEvent], refusal: Refusal, route: Callable[[], Route]
) -> Sequence[QueuedEvent]:
    """Return the events that can be delivered.

    In this transaction, set the others aside under `route`, or bury them.
    """
    if all(isinstance(event, Event) and refusal(event) is None for event in one_of_each(queued_events)):
        return queued_events
    out = {queued: error for queued in queued_events if (error := _error(queued, refusal)) is not None}
    waiting = _waiting(connection, out)
    buried = [(queued, InvalidEvent(str(error))) for queued, error in out.items() if queued not in waiting]
    bury.bury(connection, buried)
    if waiting:
        ordering.keep_positions(connection, waiting)
        delay = set_aside(connection, route(), waiting, out[waiting[0]], longest=LONGEST_DELAY_S)
        metrics.put_back((queued.type for queued in waiting), "unknown")
        log.info("events of an unknown type wait", events=len(waiting), delay=round(delay, 1), why=str(out[waiting[0]]))
    return [queued for queued in queued_events if queued not in out]


def _error(queued: QueuedEvent, refusal: Refusal) -> InvalidEvent | None:
    event = queued.event
    if isinstance(event, Unreadable):
        return UnknownEvent(event.reason) if event.is_unknown else InvalidEvent(event.reason)
    why = refusal(event)
    return None if why is None else UnknownEvent(why)


def _waiting(connection: Connection, out: dict[QueuedEvent, InvalidEvent]) -> list[QueuedEvent]:
    unknown = [queued for queued, error in out.items() if isinstance(error, UnknownEvent)]
    if not unknown:
        return []
    now, patience = database_now(connection), timedelta(seconds=settings().unknown_patience)
    return [queued for queued in unknown if waited(queued, out[queued], now) < patience]
