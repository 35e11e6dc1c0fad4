"""Verdict: the decision for each outcome of a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from app.engine.delivery.retry import Bury, PutBack
from app.engine.domain import Call, Effect, Policy, Prepared
from app.engine.effects.batch import Task
from app.engine.effects.verdict import Failure, Result, decide_outcome
from app.engine.queue.envelope import QueuedEvent
from app.errors import Busy, InDoubt, NotCalled, Permanent, Transient
from events import Event, Payload
from tests.helpers.toy import Said, want

POLICY = Policy(most_attempts=2, base=2.0)
SETTLE_S = 90.0


async def _still_mine() -> None:
    """Check nothing."""


async def _call(_prepared: Prepared, _call: Call) -> Payload:
    raise AssertionError


def _effect(**given: Any) -> Effect:
    return Effect(
        queue="calls", prepare=lambda _context, _events: [], call=_call, grace_period=lambda: SETTLE_S, **given
    )


def _task(*, begun: bool = True, attempt: int = 0) -> Task:
    event: Event[Any] = want("word")
    look: Callable[[], Awaitable[Any]] = _still_mine
    letter = QueuedEvent(1, attempt, {}, event)
    return Task(
        letter,
        event,
        uuid4(),
        Prepared(event, None),
        Call(in_doubt=False, attempt=attempt, is_last=False, still_mine=look),
        None,
        begun=begun,
    )


def test_a_payload_is_the_result() -> None:
    """It is published."""
    said = Said(word="done")
    assert decide_outcome(_task(), said, _effect(), POLICY, 0.0) == Result(said)


@pytest.mark.parametrize(("begun", "least"), [(True, SETTLE_S), (False, 0.0)])
def test_a_call_that_may_have_been_made_waits_for_the_grace_period(begun: bool, least: float) -> None:  # noqa: FBT001
    """A call that was not begun waits for the policy's delay only."""
    match decide_outcome(_task(begun=begun), Transient("away"), _effect(), POLICY, 0.0):
        case Failure(_, PutBack(delay, 1), made):
            assert made is begun
            assert delay >= least
            assert begun or delay < SETTLE_S
        case other:
            raise AssertionError(other)


def test_a_busy_error_spends_no_attempt() -> None:
    """The resource is in use."""
    verdict = decide_outcome(_task(begun=False), Busy("taken"), _effect(), POLICY, 0.0)
    assert isinstance(verdict, Failure)
    assert isinstance(verdict.decision, PutBack)
    assert verdict.decision.attempt == 0


def test_a_transient_error_of_the_last_attempt_is_given_up() -> None:
    """The result is the effect's `give_up` payload. Without it the event is buried."""
    given_up = Said(word="gave up")
    error = Transient("away")
    effect = _effect(give_up=lambda _prepared, _error: given_up)
    assert decide_outcome(_task(attempt=1), error, effect, POLICY, 0.0) == Result(given_up)
    assert isinstance(decide_outcome(_task(attempt=0), error, effect, POLICY, 0.0), Failure)
    assert decide_outcome(_task(attempt=1), error, _effect(), POLICY, 0.0) == Failure(
        error, Bury(), may_have_been_made=True
    )


def test_a_permanent_error_is_buried_and_never_given_up() -> None:
    """Only transient errors are given up."""
    error = Permanent("no such place")
    effect = _effect(give_up=lambda _prepared, _error: Said(word="gave up"))
    assert decide_outcome(_task(), error, effect, POLICY, 0.0) == Failure(error, Bury(), may_have_been_made=True)


def test_an_effect_names_the_errors_that_it_gives_up_on() -> None:
    """Instead of transient ones."""
    given_up = Said(word="gave up")
    effect = _effect(give_up=lambda _prepared, _error: given_up, gives_up_on=(Permanent, ValueError))
    for error in (Permanent("no such place"), ValueError("unreadable")):
        assert decide_outcome(_task(attempt=1), error, effect, POLICY, 0.0) == Result(given_up)
    away = Transient("away")
    assert decide_outcome(_task(attempt=1), away, effect, POLICY, 0.0) == Failure(away, Bury(), may_have_been_made=True)


def test_a_call_that_cannot_be_asked_about_is_buried_at_once() -> None:
    """If it may have been made; otherwise it is tried again."""
    effect = _effect(can_be_asked=False, give_up=lambda _prepared, _error: Said(word="gave up"))
    verdict = decide_outcome(_task(attempt=1), Transient("cut off"), effect, POLICY, 0.0)
    assert isinstance(verdict, Failure)
    assert (type(verdict.error), verdict.decision, verdict.may_have_been_made) == (InDoubt, Bury(), True)
    assert isinstance(verdict.error.__cause__, Transient)
    final = NotCalled("wrong address")
    assert decide_outcome(_task(), final, effect, POLICY, 0.0) == Failure(final, Bury(), may_have_been_made=False)
