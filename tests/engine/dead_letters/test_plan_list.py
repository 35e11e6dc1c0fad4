"""The list of replay plans with their progress."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters import plan_list
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace, run
from tests.helpers.dead_letters import NOBODY, dead, healed
from tests.helpers.support import drain_all
from tests.helpers.toy import Outside, say


def listed(connection: Connection, *, every: bool = False, limit: int = 100) -> list[plan_list.Listed]:
    """Return the listed plans of all pages."""
    return [plan for page in plan_list.pages(connection, every=every, limit=limit) for plan in page]


def test_a_plan_is_listed_with_its_letters_by_progress(connection: Connection, outside: Outside) -> None:
    """A blocked or invalid letter is not to be replayed. A replayed letter waits until it is applied or dead again."""
    dead(connection, say("fine"), say("hopeless"), say("kept"))
    connection.execute("UPDATE engine.failed_jobs SET event_data = '{}' WHERE event_data #>> '{data,word}' = 'kept'")
    plan = plans.make(connection, Filters(), actor="ana")
    (found,) = listed(connection)
    assert (found.id, found.created_by, found.filters) == (plan.id, "ana", {"resolved": False})
    assert (found.letters, found.to_replay, found.waiting) == (3, 2, 0)
    with healed():
        run(connection, plan, Pace(wait=0), actor="ana", reason="x", show=NOBODY)
        (found,) = listed(connection)
        assert (found.letters, found.to_replay, found.waiting) == (3, 0, 2)
        drain_all(connection)
    (found,) = listed(connection)
    assert (found.letters, found.to_replay, found.waiting) == (3, 0, 0)


@pytest.mark.parametrize("ended", ["finished_at", "expired_at"])
def test_an_ended_plan_is_listed_only_with_every(connection: Connection, outside: Outside, ended: str) -> None:
    """Finished plans and expired plans are left out by default."""
    first, second = (plans.make(connection, Filters(), actor="ana") for _ in range(2))
    connection.execute(f"UPDATE engine.replay_plans SET {ended} = now() WHERE id = %s", [first.id])  # noqa: S608
    assert [plan.id for plan in listed(connection)] == [second.id]
    assert [plan.id for plan in listed(connection, every=True)] == [second.id, first.id]


def test_plans_are_read_in_pages_newest_first(
    connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most `limit` plans in all."""
    monkeypatch.setattr(plan_list, "PAGE", 2)
    made = [plans.make(connection, Filters(), actor="ana").id for _ in range(4)]
    pages = list(plan_list.pages(connection, every=False, limit=3))
    assert [[plan.id for plan in page] for page in pages] == [[made[3], made[2]], [made[1]]]
