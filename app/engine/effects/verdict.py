"""Verdict: decide how an event continues after its call. Pure: decided once, before the transaction that records it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from app.engine.delivery.retry import Bury, Decision, PutBack, decide, is_final, maybe_called
from app.engine.domain import Effect, Policy
from app.engine.effects.batch import Task
from app.errors import InDoubt
from events import Payload


@dataclass(frozen=True, slots=True)
class Result:
    """The event is applied, and `payload` is published as its result."""

    payload: Payload


@dataclass(frozen=True, slots=True)
class Failure:
    """The event is put back or buried with `error`. `may_have_been_made`: its call is in doubt."""

    error: Exception
    decision: Decision
    may_have_been_made: bool


Verdict: TypeAlias = Result | Failure


def decide_outcome(task: Task, outcome: Payload | Exception, effect: Effect, policy: Policy, chance: float) -> Verdict:
    """Decide how the event of a task continues after its call ended with `outcome`.

    `chance`, in [0, 1), spreads the delay of a retry. A call that may have been made is buried at once if the other
    side cannot be asked: another delivery could not decide more. If the last attempt fails with an error on which the
    effect gives up, the result is its `give_up` payload, if it has one. Any other call that may have been made is not
    retried before the effect's grace period is over.
    """
    if isinstance(outcome, Payload):
        return Result(outcome)
    made = task.begun and maybe_called(outcome)
    if made and not effect.can_be_asked and not is_final(outcome):
        return Failure(_in_doubt(outcome), Bury(), made)
    match decide(outcome, task.call.attempt, policy, chance):
        case Bury() if isinstance(outcome, effect.gives_up_on) and effect.give_up:
            return Result(effect.give_up(task.prepared, outcome))
        case PutBack(delay, attempt) if made:
            return Failure(outcome, PutBack(max(delay, effect.grace_period()), attempt), made)
        case decision:
            return Failure(outcome, decision, made)


def _in_doubt(error: Exception) -> InDoubt:
    why = "the call may have been made, and the other side cannot be asked"
    verdict = InDoubt(f"{type(error).__name__}: {error}; {why}")
    verdict.__cause__ = error
    return verdict
