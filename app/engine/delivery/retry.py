"""What an error and an attempt number lead to. Pure: no clock, no database, no chance but the one handed in."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from psycopg import errors as pg
from pydantic import ValidationError

from app.engine.domain import Policy
from app.errors import Busy, InvalidInput, Permanent
from events import InvalidEvent

_AWAY = ("08", "57P0", "53300")
"""SQLSTATEs of a connection that is lost, a server that stops or starts, and one that takes no more connections."""
_CONFLICTS = (pg.DeadlockDetected, pg.SerializationFailure)
_FINAL = (Permanent, InvalidEvent, InvalidInput, ValidationError, pg.DataError)


@dataclass(frozen=True, slots=True)
class PutBack:
    """Deliver again after `delay` seconds, as attempt number `attempt`."""

    delay: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Never again, until an admin says so."""


Decision: TypeAlias = PutBack | Bury


LONGEST_COOLDOWN = 7 * 86_400.0
"""Seconds that the other side can make an event wait at most."""


def retry_after_of(error: BaseException) -> float | None:
    """Seconds after which the other side said to come back, None if it said nothing of the kind."""
    seconds = getattr(error, "retry_after", None)
    return min(max(float(seconds), 0.0), LONGEST_COOLDOWN) if isinstance(seconds, int | float) else None


def maybe_called(error: BaseException) -> bool:
    """Whether an effect's call that ended with `error` may have been made: unless it says that nothing was sent."""
    said = getattr(error, "maybe_called", None)
    return said is not False and not isinstance(error, ConnectionRefusedError | socket.gaierror)


def decide(error: BaseException, attempt: int, policy: Policy, chance: float) -> Decision:
    """What becomes of an event whose delivery number `attempt` (from 0) ended with `error`."""
    if (seconds := retry_after_of(error)) is not None:
        return PutBack(seconds * (1 + chance / 10), attempt)
    match error:
        case Busy():
            return PutBack(error.delay * (0.5 + chance), attempt)
        case _ if spends_nothing(error):
            return PutBack(policy.base * (0.5 + chance), attempt)
        case _ if is_final(error):
            return Bury()
        case _ if policy.is_last(attempt):
            return Bury()
        case _:
            return PutBack(policy.delay(attempt, chance), attempt + 1)


def is_final(error: BaseException) -> bool:
    """Whether trying again cannot help, however often it was tried."""
    return retry_after_of(error) is None and isinstance(error, _FINAL)


def spends_nothing(error: BaseException) -> bool:
    """Whether the error says nothing about the event: the connection broke, or a deadlock chose this transaction."""
    return isinstance(error, pg.LockNotAvailable) or is_conflict(error) or is_disconnect(error)


def is_conflict(error: BaseException) -> bool:
    """Whether another transaction was in the way: the same one, a moment later, can succeed."""
    return isinstance(error, _CONFLICTS)


def is_disconnect(error: BaseException) -> bool:
    """Whether the database was away, so that nobody knows more than before."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    # No SQLSTATE: the driver or the pool could not reach the server. Otherwise the server says so itself.
    state = error.sqlstate
    return state is None or state.startswith(_AWAY)
