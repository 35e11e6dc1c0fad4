"""Settle: put a failed event back or bury it, in the transaction that acknowledges its delivery."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import assert_never

import structlog

from app.context import Connection
from app.engine import metrics
from app.engine.delivery import bury
from app.engine.delivery.retry import Bury, Decision, PutBack, decide
from app.engine.domain import Policy
from app.engine.queue import ordering
from app.engine.queue.envelope import QueuedEvent, remembered
from app.engine.queue.publish import put_back
from events import Event

log = structlog.get_logger(__name__)


def settle(connection: Connection, policy: Policy, queued_events: Sequence[QueuedEvent], error: Exception) -> int:
    """Put back or bury events whose delivery failed with `error`, each by its own attempt.

    Returns 0, the number applied.
    """
    ordering.keep_positions(connection, queued_events)
    for queued in queued_events:
        carry_out(connection, queued, decide(error, queued.attempt, policy, random.random()), error)
    return 0


def carry_out(connection: Connection, queued: QueuedEvent, decision: Decision, error: Exception) -> None:
    """Put back or bury an event as decided about its `error`. An unreadable event is always buried."""
    match decision:
        case PutBack(delay, attempt) if isinstance(queued.event, Event):
            why = remembered(error)
            put_back(connection, [(queued.event, queued.raw)], delay=delay, attempt=attempt, error=why)
            metrics.put_back([queued.type], "failed" if attempt > queued.attempt else "busy")
            log.info("put back", event_id=str(queued.event_id), attempt=attempt, delay=round(delay, 1), why=str(error))
        case Bury() | PutBack():
            bury.bury(connection, [(queued, error)])
            log.warning("buried", event_id=str(queued.event_id), error=type(error).__name__, why=str(error))
        case _:
            assert_never(decision)
