"""Retry: the decision for each error and attempt number."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors as pg
from pydantic import BaseModel, ValidationError

from app.engine.delivery.retry import Bury, PutBack, decide
from app.engine.domain import Policy
from app.errors import Busy, InvalidInput, Permanent, Transient
from events import InvalidEvent

POLICY = Policy(most_attempts=6, base=2.0, cap=300.0)
CHANCES = (0.0, 0.25, 0.5, 0.999)


class Number(BaseModel):
    """A model that a value can violate."""

    n: int


def unreadable() -> ValidationError:
    """Return pydantic's error for a value of the wrong type."""
    with pytest.raises(ValidationError) as caught:
        Number.model_validate({"n": "many"})
    return caught.value


@pytest.mark.parametrize("error", [Transient("timed out"), RuntimeError("a bug"), pg.QueryCanceled("too slow")])
def test_a_transient_error_is_retried_with_growing_delays(error: Exception) -> None:
    """It spends an attempt. After the last one the event is buried."""
    for attempt in range(5):
        for chance in CHANCES:
            assert decide(error, attempt, POLICY, chance) == PutBack(POLICY.delay(attempt, chance), attempt + 1)
    assert decide(error, 5, POLICY, 0.5) == Bury()


@pytest.mark.parametrize(
    "error",
    [
        Permanent("no"),
        InvalidEvent("no event"),
        InvalidInput("no value"),
        unreadable(),
        pg.NumericValueOutOfRange("too large"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_permanent_error_is_final(error: Exception) -> None:
    """At the first attempt."""
    assert decide(error, 0, POLICY, 0.5) == Bury()


@pytest.mark.parametrize("attempt", [0, 3, 5, 50])
@pytest.mark.parametrize(
    "error",
    [
        pg.DeadlockDetected("in the way"),
        pg.SerializationFailure("in the way"),
        pg.LockNotAvailable("in the way"),
        pg.AdminShutdown("stops"),
        pg.CannotConnectNow("starts"),
        pg.TooManyConnections("full"),
        pg.ConnectionFailure("gone"),
        psycopg.OperationalError("no answer"),
        psycopg.InterfaceError("closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_is_not_the_events_spends_no_attempt(error: Exception, attempt: int) -> None:
    """Also after the last one. The delay is between half and one and a half of the base."""
    assert decide(error, attempt, POLICY, 0.0) == PutBack(1.0, attempt)
    assert decide(error, attempt, POLICY, 0.5) == PutBack(2.0, attempt)
    assert decide(error, attempt, POLICY, 0.75) == PutBack(2.5, attempt)


@pytest.mark.parametrize("attempt", [0, 5, 50])
def test_a_busy_error_has_its_own_delay(attempt: int) -> None:
    """Around that time, without spending an attempt."""
    assert decide(Busy("later", delay=60), attempt, POLICY, 0.5) == PutBack(60.0, attempt)
    assert decide(Busy("later", delay=60), attempt, POLICY, 0.0) == PutBack(30.0, attempt)


@pytest.mark.parametrize("state", ["53100", "53200", "58000", "57014", "XX000"])
def test_an_error_of_a_reachable_server_spends_an_attempt(state: str) -> None:
    """A full disk, no memory, a slow statement: it may never succeed."""
    error = pg.lookup(state)("no")
    assert decide(error, 0, POLICY, 0.5) == PutBack(POLICY.delay(0, 0.5), 1)
