"""Replays that stop or are refused: missing reasons, failing canaries, and letters that changed since the plan."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from app.context import Connection
from app.engine import audit_log
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters import replay
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.plan import Plan
from app.engine.dead_letters.replay import Pace
from app.errors import Conflict, InvalidInput
from tests.conftest import Database
from tests.helpers.dead_letters import NOBODY, buried, healed, heard
from tests.helpers.support import drain_all, scalar, working
from tests.helpers.toy import Outside


def run(connection: Connection, plan: Plan, pace: Pace) -> Progress:
    """Run a replay without watching its progress."""
    return replay.run(connection, plan, pace, actor="ana", reason="try", show=NOBODY)


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


def test_a_canary_that_timed_out_is_evaluated_before_the_rest(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The canary was dead-lettered after the time limit: the next run stops, and the other letters stay in the plan."""
    buried(connection, "hopeless")
    buried(connection, "fine 1", "fine 2")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed():
        first = run(connection, plan, Pace(canary=1, wait=0))
        assert (first.replayed, first.timed_out) == (1, True)
        drain_all(connection)
        connection.commit()
        second = run(connection, plan, Pace(canary=1, wait=0))
    assert (second.replayed, second.stopped) == (1, "1 of the first 1 died again")


def test_a_canary_of_three_with_one_failure_stops(database: Database, connection: Connection, outside: Outside) -> None:
    """One failure among the first three is enough. The two others are applied, and the rest stays in the plan."""
    buried(connection, "fine 1", "hopeless", "fine 2")
    buried(connection, "fine 3", "fine 4")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        done = run(connection, plan, Pace(canary=3))
    assert (done.total, done.replayed, done.outcomes) == (5, 3, {"applied": 2, "dead": 1})
    assert done.stopped == "1 of the first 3 died again"
    assert heard(connection) == ["fine 1", "fine 2"]


def test_a_plan_is_stale_if_a_letter_died_again_since(connection: Connection, outside: Outside) -> None:
    """The plan was made for the earlier failure: nothing is replayed, and `Conflict` names the letter."""
    buried(connection, "hopeless")
    old = plans.make(connection, Filters(), actor="ana")
    with healed():
        run(connection, plans.make(connection, Filters(), actor="ana"), Pace(wait=0))
        drain_all(connection)
        (letter,) = plans.letters(connection, old.id)
        connection.commit()
        with pytest.raises(Conflict, match=f"plan {old.id} is stale: {letter.letter_id} died again; make a new one"):
            run(connection, old, Pace())
    assert scalar(connection, "SELECT count(*) FROM engine.waiting()") == 0
    assert scalar(connection, "SELECT replay_count FROM engine.failed_jobs") == 1
