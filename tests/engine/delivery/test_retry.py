"""Retry: what an error and an attempt number lead to, as tables."""

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
    """Something that a value can fail to be."""

    n: int


def unreadable() -> ValidationError:
    """What pydantic raises for a value of the wrong type."""
    with pytest.raises(ValidationError) as caught:
        Number.model_validate({"n": "many"})
    return caught.value


@pytest.mark.parametrize(
    ("attempt", "longest"),
    [(0, 2), (1, 4), (2, 8), (3, 16), (4, 32), (5, 64), (6, 128), (7, 256), (8, 300), (9, 300), (500, 300)],
)
def test_the_delay_doubles_up_to_the_cap_and_chance_decides_the_upper_half(attempt: int, longest: float) -> None:
    """Between half and all of the doubled base, evenly spread by chance, and never more than the cap."""
    assert POLICY.delay(attempt, 0.0) == longest / 2
    assert POLICY.delay(attempt, 0.5) == longest * 0.75
    assert longest * 0.99 < POLICY.delay(attempt, 0.999) < longest
    delays = [POLICY.delay(attempt, chance) for chance in CHANCES]
    assert delays == sorted(set(delays))


@pytest.mark.parametrize(("attempt", "last"), [(0, False), (4, False), (5, True), (6, True)])
def test_the_last_of_the_attempts_is_final(attempt: int, *, last: bool) -> None:
    """`most_attempts` counts deliveries; attempts count from 0."""
    assert POLICY.is_last(attempt) is last


@pytest.mark.parametrize("error", [Transient("timed out"), RuntimeError("a bug"), pg.QueryCanceled("too slow")])
def test_an_error_that_may_pass_is_tried_again_later_and_later(error: Exception) -> None:
    """It spends an attempt; after the last one the event is buried."""
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
def test_an_error_that_cannot_pass_is_final_at_once(error: Exception) -> None:
    """However often it would be tried."""
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
    """Also when none is left: between half and one and a half of the base later, spread by chance."""
    assert decide(error, attempt, POLICY, 0.0) == PutBack(1.0, attempt)
    assert decide(error, attempt, POLICY, 0.5) == PutBack(2.0, attempt)
    assert decide(error, attempt, POLICY, 0.75) == PutBack(2.5, attempt)


@pytest.mark.parametrize("attempt", [0, 5, 50])
def test_the_other_side_says_when_to_come_back(attempt: int) -> None:
    """Around the time that it names, spending no attempt."""
    assert decide(Busy("later", delay=60), attempt, POLICY, 0.5) == PutBack(60.0, attempt)
    assert decide(Busy("later", delay=60), attempt, POLICY, 0.0) == PutBack(30.0, attempt)


@pytest.mark.parametrize("state", ["53100", "53200", "58000", "57014", "XX000"])
def test_an_error_of_a_server_that_is_there_spends_an_attempt(state: str) -> None:
    """A full disk, no memory, a statement that takes too long: the server answers, and may never succeed."""
    error = pg.lookup(state)("no")
    assert decide(error, 0, POLICY, 0.5) == PutBack(POLICY.delay(0, 0.5), 1)
