"""Replay at its edges: letters that changed since their plan, and a first few of which one dies."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from app.context import Connection
from app.engine import audit_log
from app.engine.dead_letters import letters, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import End, redeliver
from app.engine.dead_letters.replay import Pace
from app.engine.queue.publish import publish
from app.errors import Conflict, InvalidInput
from tests.conftest import Database
from tests.engine.dead_letters.test_replay import NOBODY, buried, healed, heard
from tests.helpers.support import deliver, scalar, working
from tests.helpers.toy import Outside, say


@pytest.fixture
def plan_of_one_that_died_again(connection: Connection, outside: Outside) -> plans.Plan:
    """A plan of a letter whose event was delivered and died once more since."""
    event = say("word", "bad")
    publish(connection, event)
    deliver(connection)
    plan = plans.make(connection, Filters(), actor="ana")
    publish(connection, event)
    deliver(connection)
    assert len(letters.find(connection, event.id).history) == 1
    return plan


@pytest.mark.parametrize("reason", [None, ""])
def test_a_replay_of_several_letters_needs_a_reason(
    connection: Connection, outside: Outside, reason: str | None
) -> None:
    """Without a reason nothing is replayed, and the audit log has no replay."""
    buried(connection, "a", "b")
    plan = plans.make(connection, Filters(), actor="ana")
    with pytest.raises(InvalidInput, match=r"^reason: required to replay more than one letter"):
        replay.run(connection, plan, Pace(), actor="ana", reason=reason, show=NOBODY)
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
    assert [one.action for one in audit_log.history(connection, plan.id)] == ["plan"]


@pytest.mark.parametrize(
    ("pace", "letters_left", "is_needed"),
    [(Pace(), 0, False), (Pace(), 1, False), (Pace(), 2, True), (Pace(again=True), 1, True)],
)
def test_a_reason_is_needed_for_several_letters_and_for_repeated_calls(
    pace: Pace, letters_left: int, *, is_needed: bool
) -> None:
    """Letters that are already replayed do not count; with a reason every replay is accepted."""
    replay.check_reason(pace, letters_left, "mended")
    with pytest.raises(InvalidInput, match=r"^reason: ") if is_needed else nullcontext():
        replay.check_reason(pace, letters_left, None)


def test_a_plan_is_stale_when_a_letter_has_died_again(
    connection: Connection, plan_of_one_that_died_again: plans.Plan
) -> None:
    """What was planned was another death: the error may be another one too."""
    with pytest.raises(Conflict, match="died again; make a new one"):
        replay.run(connection, plan_of_one_that_died_again, Pace(), actor="ana", reason=None, show=NOBODY)


def test_a_letter_that_died_again_while_a_replay_ran_is_skipped(
    connection: Connection, plan_of_one_that_died_again: plans.Plan
) -> None:
    """Between the look at the plan and the replay of the letter it may die; nothing is published then."""
    (planned,) = plans.letters(connection, plan_of_one_that_died_again.id)
    with connection.transaction():
        assert redeliver(connection, [planned]) == [End(planned.letter_id, outcome="skipped")]
    assert deliver(connection) == 0


def test_one_that_dies_among_the_first_stops_a_replay(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Three are tried and one dies: the other letters stay in the plan."""
    for word in ("fine 1", "hopeless", "fine 2", "fine 3"):
        buried(connection, word)
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(canary=3), actor="ana", reason="try", show=NOBODY)
    assert (done.replayed, done.stopped) == (3, "1 of the first 3 died again")
    assert heard(connection) == ["fine 1", "fine 2"]
    left = "SELECT count(*) FROM engine.replay_plan_letters WHERE replayed_at IS NULL"
    assert scalar(connection, left) == 1
