"""The outcomes of replayed letters, and the wait for them: obstacles, time limits, outcomes that come later."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import database as doors
from app.context import Connection
from app.engine.dead_letters import awaited, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.forecast import REPLAYED
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.plan import Plan
from app.engine.dead_letters.replay import Pace
from app.engine.queue import pauses
from events import new_id
from tests.conftest import Database
from tests.helpers.dead_letters import NOBODY, buried, dead, healed, heard
from tests.helpers.health_fixtures import enlist
from tests.helpers.support import drain, drain_all, scalar, working
from tests.helpers.toy import Outside, say
from tests.helpers.waits import LIMIT_S


def run(connection: Connection, plan: Plan, pace: Pace) -> Progress:
    """Run a replay without watching its progress."""
    return replay.run(connection, plan, pace, actor="ana", reason="try", show=NOBODY)


def test_a_replay_reports_each_obstacle_once_and_goes_on_waiting(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It names the paused queue and the queue without a worker. It ends when a worker has delivered the letters."""
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

    def wait_without_limit() -> Progress:
        with doors.connect(database.url) as other:
            return replay.run(other, plan, Pace(), actor="ana", reason="try", show=NOBODY, tell=tell)

    with healed(), ThreadPoolExecutor(1) as threads:
        running = threads.submit(wait_without_limit)
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


def test_letters_without_an_outcome_in_time_stay_in_the_plan(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """They wait in the queue. A new plan does not replay them; the same plan goes on, and replays each letter once."""
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


def test_a_plan_shows_outcomes_that_came_after_the_time_limit(connection: Connection, outside: Outside) -> None:
    """No replay has stored them. A new plan may replay the letter that died again."""
    buried(connection, "fine", "hopeless")
    plan = plans.make(connection, Filters(), actor="ana")
    with healed():
        run(connection, plan, Pace(wait=0))
        drain_all(connection)
        assert sorted(str(one.outcome) for one in plans.letters(connection, plan.id)) == ["applied", "dead"]
        again = plans.make(connection, Filters(), actor="luis")
    assert [one.class_ for one in plans.letters(connection, again.id)] == ["valid"]


def test_outcomes_are_read_from_the_ledger_and_the_dead_letters(connection: Connection, outside: Outside) -> None:
    """`read_progress` stores them; `count` only counts stored outcomes. Letters of other classes do not count."""
    letters = dead(connection, say("fine"), say("hopeless"), say("later"), say("kept"))
    connection.execute("UPDATE engine.failed_jobs SET event_data = '{}' WHERE id = %s", [letters[3].id])
    plan = plans.make(connection, Filters(), actor="ana")
    found = awaited.count(connection, plan.id, REPLAYED)
    assert (found.total, found.replayed, found.waiting, found.outcomes) == (3, 0, 0, {})
    run(connection, plan, Pace(wait=0))
    assert awaited.in_the_queue(connection, [letter.id for letter in letters]) == {
        letter.id: plan.id for letter in letters[:3]
    }
    with healed():
        connection.execute("UPDATE engine.delayed SET due_at = now() + interval '1 hour'")
        connection.execute(
            "UPDATE public.procrastinate_jobs SET scheduled_at = now() + interval '1 hour'"
            " WHERE args #>> '{events,0,data,word}' = 'later' OR args #>> '{data,word}' = 'later'"
        )
        drain()
    assert awaited.count(connection, plan.id, REPLAYED).outcomes == {}
    found = awaited.read_progress(connection, plan.id, REPLAYED)
    assert (found.total, found.replayed, found.waiting) == (3, 3, 1)
    assert found.outcomes == {"applied": 1, "dead": 1}
    assert awaited.count(connection, plan.id, REPLAYED) == found
    assert awaited.in_the_queue(connection, [letter.id for letter in letters]) == {letters[2].id: plan.id}


def test_only_queues_with_replayed_letters_are_obstacles(connection: Connection, outside: Outside) -> None:
    """A plan that has replayed nothing has none. A queue that a live worker serves is none."""
    dead(connection, say("word"))
    plan = plans.make(connection, Filters(), actor="ana")
    assert awaited.obstacles(connection, plan.id) == []
    run(connection, plan, Pace(wait=0))
    assert awaited.obstacles(connection, plan.id) == ["no live worker serves the queue events: start one with `work`"]
    enlist(connection)
    assert awaited.obstacles(connection, plan.id) == []


def test_the_time_limit_counts_from_the_last_publication(
    connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is over, `rest` returns False without sleeping. Without a limit it never is."""
    now = 0.0
    monkeypatch.setattr("app.engine.dead_letters.awaited.time.monotonic", lambda: now)
    patience = awaited.Patience(connection, new_id(), most=60.0, tell=print)
    patience.put()
    assert patience.rest(Progress())
    now = 60.0
    assert not patience.rest(Progress())
    patience.put()
    assert patience.rest(Progress())
    now = 119.9
    assert patience.rest(Progress())
    now = 1e9
    assert not patience.rest(Progress())
    patience.most = None
    assert patience.rest(Progress())
