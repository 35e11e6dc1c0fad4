"""The declaration of an effect: retry policy, concurrency limits, keys of calls."""

from __future__ import annotations

import pytest

from app.engine.effect import ConcurrencyLimit, Policy, Prepared
from tests.helpers.calls import keyed, word_key
from tests.helpers.toy import Outside, Wanted, want

POLICY = Policy(most_attempts=6, base=2.0, cap=300.0)
CHANCES = (0.0, 0.25, 0.5, 0.999)


@pytest.mark.parametrize(
    ("attempt", "longest"),
    [(0, 2), (1, 4), (2, 8), (3, 16), (4, 32), (5, 64), (6, 128), (7, 256), (8, 300), (9, 300), (500, 300)],
)
def test_the_delay_doubles_up_to_the_cap(attempt: int, longest: float) -> None:
    """Between half and all of the doubled base, spread by chance, and at most the cap."""
    assert POLICY.delay(attempt, 0.0) == longest / 2
    assert POLICY.delay(attempt, 0.5) == longest * 0.75
    assert longest * 0.99 < POLICY.delay(attempt, 0.999) < longest
    delays = [POLICY.delay(attempt, chance) for chance in CHANCES]
    assert delays == sorted(set(delays))


@pytest.mark.parametrize(("attempt", "last"), [(0, False), (4, False), (5, True), (6, True)])
def test_the_last_of_the_attempts_is_final(attempt: int, *, last: bool) -> None:
    """`most_attempts` counts deliveries; attempts count from 0."""
    assert POLICY.is_last(attempt) is last


def test_the_key_of_a_call_is_by_default_the_events_id() -> None:
    """An effect with `call_key` decides itself which events request the same call."""
    outside, event = Outside(), want("word")
    assert outside.wiring().effects[Wanted].key(event) == event.id
    effect = keyed(outside).effects[Wanted]
    assert effect.key(event) == effect.key(want("word")) == word_key(event)
    assert effect.key(want("other")) != effect.key(event)


def test_limits_are_locked_in_the_order_of_their_keys() -> None:
    """They can be sorted, and are equal by key and number."""
    one, two = ConcurrencyLimit("a", 2), ConcurrencyLimit("b", 1)
    assert sorted([two, one]) == [one, two]
    assert ConcurrencyLimit("a", 2) == one != ConcurrencyLimit("a", 3)


def test_the_input_of_a_call_is_not_shown() -> None:
    """It may have secrets, and calls are logged."""
    event = want("word")
    assert "hunter2" not in repr(Prepared(event, {"password": "hunter2"}))
