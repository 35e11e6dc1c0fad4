"""A replay that nobody works for: it says so, waits no longer than it is told to, and goes on later."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import database as doors
from app.context import Connection
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters import replay
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.plan import Plan
from app.engine.dead_letters.replay import Pace
from app.engine.queue import pauses
from app.errors import Conflict
from tests.conftest import Database
from tests.engine.dead_letters.test_replay import NOBODY, buried, healed, heard
from tests.helpers.support import drain_all, scalar, working
from tests.helpers.toy import Outside
from tests.helpers.waits import LIMIT_S


def run(connection: Connection, plan: Plan, pace: Pace) -> Progress:
    """A replay whose steps nobody watches."""
    return replay.run(connection, plan, pace, actor="ana", reason="try", show=NOBODY)


def test_a_replay_without_a_worker_says_so_and_goes_on_waiting(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It names the queue, or the pause, once each; when a worker comes it ends as if one had always been there."""
    buried(connection, "a", "b")
    pauses.pause(connection, "events", actor="luis", reason="upgrade")
    connection.commit()
    plan = plans.make(connection, Filters(), actor="ana")
    told: list[str] = []
    both = threading.Event()

    def tell(message: str) -> None:
        told.append(message)
        if len(told) == 2:
            both.set()

    def patiently() -> Progress:
        with doors.connect(database.url) as other:
            return replay.run(other, plan, Pace(), actor="ana", reason="try", show=NOBODY, tell=tell)

    with healed(), ThreadPoolExecutor(1) as threads:
        running = threads.submit(patiently)
        assert both.wait(LIMIT_S)
        assert not running.done()
        pauses.resume(connection, "events", actor="luis")
        connection.commit()
        with working(database.url):
            done = running.result(LIMIT_S)
    assert (done.outcomes["applied"], done.timed_out) == (2, False)
    assert told == [
        "queue events is paused, by luis: upgrade",
        "no live worker serves the queue events: start one with `work`",
    ]


def test_what_is_not_finished_in_time_stays_in_the_plan(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The letters wait in the queue; a new plan does not replay them, and the same plan goes on, each letter once."""
    buried(connection, "a", "b")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed():
        first = run(connection, plan, Pace(wait=0))
        assert (first.replayed, first.waiting, first.timed_out, first.stopped) == (2, 2, True, None)
        assert plans.find(connection, plan.id).finished_at is None
        assert {one.outcome for one in plans.letters(connection, plan.id)} == {None}
        again = plans.make(connection, Filters(), actor="luis")
        assert {(one.class_, one.detail) for one in plans.letters(connection, again.id)} == {
            ("blocked", f"replayed, waiting: `dead replay {plan.id}` waits for it")
        }
        connection.commit()
        with working(database.url):
            second = run(connection, plan, Pace(wait=LIMIT_S))
    assert (second.outcomes["applied"], second.timed_out) == (2, False)
    assert heard(connection) == ["a", "b"]
    assert scalar(connection, "SELECT max(replay_count) FROM engine.failed_jobs") == 1
    assert plans.find(connection, plan.id).finished_at is not None


def test_a_plan_tells_what_came_after_nobody_waited_any_more(connection: Connection, outside: Outside) -> None:
    """Applied and died again are told by the plan, although no replay has noted them; a new plan may try them again."""
    buried(connection, "fine", "hopeless")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed():
        run(connection, plan, Pace(wait=0))
        drain_all(connection)
        assert sorted(str(one.outcome) for one in plans.letters(connection, plan.id)) == ["applied", "dead"]
        again = plans.make(connection, Filters(), actor="luis")
    assert [one.class_ for one in plans.letters(connection, again.id)] == ["valid"]


def test_a_canary_that_ran_out_of_time_is_judged_before_the_rest(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It died while nobody waited: the same command stops there and leaves the others alone."""
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
    """One death among the first three is enough; the two others are applied, and the rest stays in the plan."""
    buried(connection, "fine 1", "hopeless", "fine 2")
    buried(connection, "fine 3", "fine 4")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed(), working(database.url):
        done = run(connection, plan, Pace(canary=3))
    assert (done.total, done.replayed, done.outcomes) == (5, 3, {"applied": 2, "dead": 1})
    assert done.stopped == "1 of the first 3 died again"
    assert heard(connection) == ["fine 1", "fine 2"]


def test_a_letter_that_died_again_since_its_plan_makes_it_stale(connection: Connection, outside: Outside) -> None:
    """The plan says what a replay of the earlier death would do: nothing is replayed, and the letter is named."""
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
