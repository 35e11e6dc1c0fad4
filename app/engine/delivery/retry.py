"""Retry decisions from an error and an attempt number. Pure: no clock, no database; randomness is a parameter."""

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
"""SQLSTATEs of a lost connection, of a server that stops or starts, and of one without free connections."""
_CONFLICTS = (pg.DeadlockDetected, pg.SerializationFailure)
_FINAL = (Permanent, InvalidEvent, InvalidInput, ValidationError, pg.DataError)


@dataclass(frozen=True, slots=True)
class PutBack:
    """Deliver again after `delay` seconds, as attempt number `attempt`."""

    delay: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Write a dead letter. Only an admin's replay delivers the event again."""


Decision: TypeAlias = PutBack | Bury


LONGEST_COOLDOWN = 7 * 86_400.0
"""Most seconds for which an error's `retry_after` can delay an event."""


def retry_after_of(error: BaseException) -> float | None:
    """Return the error's `retry_after` in seconds, between 0 and `LONGEST_COOLDOWN`; None if it has none."""
    seconds = getattr(error, "retry_after", None)
    return min(max(float(seconds), 0.0), LONGEST_COOLDOWN) if isinstance(seconds, int | float) else None


def maybe_called(error: BaseException) -> bool:
    """Whether the call of an effect that ended with `error` may have been made: True unless nothing was sent."""
    said = getattr(error, "maybe_called", None)
    return said is not False and not isinstance(error, ConnectionRefusedError | socket.gaierror)


def decide(error: BaseException, attempt: int, policy: Policy, chance: float) -> Decision:
    """Decide how an event continues after its delivery number `attempt` (from 0) ended with `error`.

    `chance`, in [0, 1), spreads the delays. Returns `PutBack` with a delay in seconds, or `Bury`.
    """
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
    """Whether a retry cannot succeed, at any attempt number."""
    return retry_after_of(error) is None and isinstance(error, _FINAL)


def spends_nothing(error: BaseException) -> bool:
    """Whether the error has no cause in the event: a lost connection, a deadlock or a lock time-out.

    Spends no attempt.
    """
    return isinstance(error, pg.LockNotAvailable) or is_conflict(error) or is_disconnect(error)


def is_conflict(error: BaseException) -> bool:
    """Whether the error is a conflict with another transaction. The same transaction, repeated, can succeed."""
    return isinstance(error, _CONFLICTS)


def is_disconnect(error: BaseException) -> bool:
    """Whether the error is a lost or refused connection."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    # Without a SQLSTATE the driver or the pool could not reach the server.
    state = error.sqlstate
    return state is None or state.startswith(_AWAY)
