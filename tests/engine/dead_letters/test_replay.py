"""Replay: the letters of a plan are redelivered once, at the given pace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from app import database as doors
from app.context import Connection
from app.engine import audit_log
from app.engine.dead_letters import letters, manage, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.errors import Conflict, InvalidInput
from tests.conftest import Database
from tests.helpers.dead_letters import NOBODY, buried, healed, heard
from tests.helpers.support import scalar, working
from tests.helpers.toy import Outside


def test_a_replay_applies_and_resolves_the_letters(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Each is applied once with its own event id."""
    ids = buried(connection, "a", "b", "c")
    plan = plans.make(connection, Filters(), actor="ana")
    assert {one.class_ for one in plans.letters(connection, plan.id)} == {"valid"}
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(), actor="ana", reason="mended", show=NOBODY)
    assert (done.total, done.replayed, done.outcomes["applied"], done.stopped) == (3, 3, 3, None)
    assert heard(connection) == ["a", "b", "c"]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 0
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE event_id = ANY(%s)", ids) == 3
    assert [done.action for done in audit_log.history(connection, plan.id)] == ["replayed", "replay", "plan"]


def test_a_letter_that_dies_again_keeps_its_history(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """One letter with the newest error; the earlier one is in its history."""
    event_id = buried(connection, "hopeless")[0]
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(), actor="ana", reason=None, show=NOBODY)
    assert done.outcomes["dead"] == 1
    letter = letters.find(connection, event_id)
    assert (letter.error_message, letter.replay_count, letter.resolved_at) == ("still deaf", 1, None)
    assert [death["error_message"] for death in letter.history] == ["cannot hear hopeless"]


def test_a_canary_that_dies_stops_the_replay(database: Database, connection: Connection, outside: Outside) -> None:
    """The other letters stay in the plan. The same plan goes on later."""
    buried(connection, "hopeless 1")
    buried(connection, "fine 1", "fine 2", "fine 3")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        first = replay.run(connection, plan, Pace(canary=1), actor="ana", reason="try", show=NOBODY)
        assert (first.replayed, first.outcomes["dead"]) == (1, 1)
        assert first.stopped == "1 of the first 1 died again"
        second = replay.run(connection, plan, Pace(), actor="ana", reason="go on", show=NOBODY)
    assert (second.replayed, second.outcomes["applied"], second.outcomes["dead"]) == (4, 3, 1)


def test_a_replay_stops_past_a_percentage_of_failures(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Few letters are without an outcome at a time, so most of a bad plan is left."""
    buried(connection, *[f"hopeless {n:02}" for n in range(40)])
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(stop_at=20), actor="ana", reason="try", show=NOBODY)
    assert done.stopped is not None
    assert "died again, more than 20 %" in done.stopped
    assert done.replayed <= 20


def test_a_rate_is_kept(database: Database, connection: Connection, outside: Outside) -> None:
    """No step publishes more letters than are due."""
    buried(connection, *[f"w{n:02}" for n in range(12)])
    plan = plans.make(connection, Filters(), actor="ana")
    steps: list[int] = []
    with healed(), working(database.url):
        replay.run(
            connection, plan, Pace(rate=10), actor="ana", reason="slowly", show=lambda p: steps.append(p.replayed)
        )
    first = connection.execute(
        "SELECT extract(epoch FROM max(replayed_at) - min(replayed_at)) FROM engine.replay_plan_letters"
    ).fetchone()
    assert first is not None
    assert first[0] >= 1.0
    assert max(later - earlier for earlier, later in zip([0, *steps], steps, strict=False)) < 12


def test_two_concurrent_replays_share_a_plan(database: Database, connection: Connection, outside: Outside) -> None:
    """Each letter is redelivered once."""
    buried(connection, *[f"w{n:03}" for n in range(100)])
    plan = plans.make(connection, Filters(), actor="ana")

    def one(actor: str) -> Progress:
        with doors.connect(database.url) as other:
            return replay.run(other, plan, Pace(rate=200), actor=actor, reason="together", show=NOBODY)

    with healed(), working(database.url), ThreadPoolExecutor(2) as threads:
        results = list(threads.map(one, ["ana", "luis"]))
    assert [done.outcomes["applied"] for done in results] == [100, 100]
    assert len(heard(connection)) == 100
    assert scalar(connection, "SELECT max(replay_count) FROM engine.failed_jobs") == 1


def test_an_interrupted_replay_goes_on_where_it_was(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """No letter is redelivered twice."""
    buried(connection, *[f"w{n}" for n in range(6)])
    plan = plans.make(connection, Filters(), actor="ana")

    def interrupt(progress: Progress) -> None:
        if progress.replayed >= 2:
            raise KeyboardInterrupt

    with healed(), working(database.url):
        with pytest.raises(KeyboardInterrupt):
            replay.run(connection, plan, Pace(rate=20), actor="ana", reason="begin", show=interrupt)
        done = replay.run(connection, plan, Pace(), actor="ana", reason="go on", show=NOBODY)
    assert done.outcomes["applied"] == 6
    assert scalar(connection, "SELECT max(replay_count) FROM engine.failed_jobs") == 1


def test_a_plan_whose_letters_have_changed_is_stale(connection: Connection, outside: Outside) -> None:
    """`Conflict` names the changed letters, and nothing is redelivered."""
    first, _ = buried(connection, "a", "b")
    plan = plans.make(connection, Filters(), actor="ana")
    letter = manage.resolve(connection, [first], note="by hand", actor="luis")[0]
    with pytest.raises(Conflict, match=f"stale: {letter.id} was resolved; make a new one"):
        replay.run(connection, plan, Pace(), actor="ana", reason="try", show=NOBODY)
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


@pytest.mark.parametrize("pace", [Pace(rate=0), Pace(rate=-1), Pace(canary=0), Pace(stop_at=101)])
def test_a_bad_pace_is_refused(connection: Connection, outside: Outside, pace: Pace) -> None:
    """The error names the field."""
    plan = plans.make(connection, Filters(), actor="ana")
    with pytest.raises(InvalidInput, match=r"^(rate|canary|stop-at): "):
        replay.run(connection, plan, pace, actor="ana", reason=None, show=NOBODY)
