"""`dead replay --wait`: time limits of scripts."""

from __future__ import annotations

from uuid import uuid4

from app.context import Connection
from app.engine.domain import use
from app.engine.queue.publish import publish
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.commands import lines, run
from tests.helpers.dead_letters import healed
from tests.helpers.support import drain_all, scalar, working


def test_a_replay_out_of_time_ends_with_its_own_exit_code_and_goes_on(
    database: Database, connection: Connection
) -> None:
    """Exit code 3 and the plan's id. The plan can be resumed, and shows the waiting letters."""
    toy.install(database)
    with use(toy.Outside().wiring()):
        publish(connection, event := toy.say("word", "bad"))
        drain_all(connection)
        with healed():
            first = run("dead", "replay", event.id, "--wait", "0", "--yes", code=3)
            plan_id = scalar(connection, "SELECT id FROM engine.replay_plans")
            assert (
                f"not finished in time: 1 letters are in the queue; `dead replay {plan_id}` continues" in first.stderr
            )
            assert "replayed, waiting" in run("dead", "replay", plan_id, "--dry-run").stdout
            assert f"`dead replay {plan_id}` waits for it" in run("dead", "plan").stdout
            assert "nothing to replay" in run("dead", "replay", event.id, "--yes").stderr
            with working(database.url):
                (*_, done) = lines("dead", "replay", plan_id, "--wait", "60")
    assert (done["applied"], done["waiting"]) == (1, 0)


def test_a_time_below_zero_is_refused(database: Database) -> None:
    """Exit code 2, with the field."""
    assert "wait: must be 0 seconds or more" in run("dead", "replay", uuid4(), "--wait", "-1", code=2).stderr
