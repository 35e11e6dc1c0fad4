"""Settle: put a failed event back or bury it, in the transaction that acknowledges its delivery."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import assert_never

import structlog

from app.context import Connection
from app.engine.delivery import bury
from app.engine.delivery.retry import Bury, Decision, PutBack, decide
from app.engine.domain import Policy
from app.engine.queue import ordering
from app.engine.queue.envelope import Letter, remembered
from app.engine.queue.publish import put_back
from events import Event

log = structlog.get_logger(__name__)


def settle(connection: Connection, policy: Policy, letters: Sequence[Letter], error: Exception) -> int:
    """Put back or bury letters whose delivery failed with `error`, each by its own attempt; applies none (0)."""
    ordering.keep_places(connection, letters)
    for letter in letters:
        carry_out(connection, letter, decide(error, letter.attempt, policy, random.random()), error)
    return 0


def carry_out(connection: Connection, letter: Letter, decision: Decision, error: Exception) -> None:
    """Do with a letter what was decided about its `error`. What cannot be read is buried, whatever was decided."""
    match decision:
        case PutBack(delay, attempt) if isinstance(letter.event, Event):
            why = remembered(error)
            put_back(connection, [(letter.event, letter.raw)], delay=delay, attempt=attempt, error=why)
            log.info("put back", event_id=str(letter.event_id), attempt=attempt, delay=round(delay, 1), why=str(error))
        case Bury() | PutBack():
            bury.bury(connection, [(letter, error)])
            log.warning("buried", event_id=str(letter.event_id), error=type(error).__name__, why=str(error))
        case _:
            assert_never(decision)
