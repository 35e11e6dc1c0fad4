"""Waking runs that are paused for money: a lower bill than reserved makes room for the page that waits."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.collection import waking
from app.collection.rules import CategoryPlan
from app.collection.runs import Run
from app.collection.settings import set_settings
from tests.collection.conftest import Team
from tests.helpers.support import scalar

TWO = (CategoryPlan("books", 1, 60), CategoryPlan("toys", 1, 60))
"""Two pages of 60 cents: a cap of 100 has room for one at a time."""

_SUBMITTED = "SELECT count(*) FROM engine.event_log WHERE type = 'collection/job.submitted' AND subject_id = %s"


def short(team: Team, cap: int | None = 100) -> tuple[Run, UUID]:
    """Return a run that is paused for its second page, and its first page, whose call is in progress."""
    run = team.start(*TWO, cap_cents=cap, allow_over_cap=True)
    (first,) = team.begin(run)
    team.pause(run, "budget")
    return run, first


def test_a_lower_bill_wakes_a_run_whose_page_waits(team: Team) -> None:
    """Once, by the program, within its own cap: its page is requested and fits."""
    run, first = short(team)
    team.settle(run, first, 40)
    woken = team.get(run)
    assert (woken.status, woken.pause_reason, woken.changed_by, woken.budget_cap_cents) == ("running", None, None, 100)
    assert scalar(team.connection, _SUBMITTED, run.id) == 2
    (second,) = team.begin(run)
    team.settle(run, second, 60)
    assert (team.get(run).status, team.get(run).actual_cost_cents) == ("completed", 100)


@pytest.mark.parametrize("cost", [41, 60, 101])
def test_a_bill_that_leaves_too_little_wakes_nothing(team: Team, cost: int) -> None:
    """The next page must fit the run's own cap, whatever the organisation's is, and no overrun be left."""
    set_settings(team.context, actor="ana", budget_cap_cents=5000)
    run, first = short(team)
    team.settle(run, first, cost)
    assert (team.get(run).status, team.get(run).pause_reason) == ("paused", "budget")


def test_a_lower_cap_counts_although_the_run_still_holds_more(team: Team) -> None:
    """The room is within the organisation's cap as it is now."""
    set_settings(team.context, actor="ana", budget_cap_cents=100)
    run, first = short(team, cap=None)
    set_settings(team.context, actor="ana", budget_cap_cents=70)
    team.settle(run, first, 20)
    assert team.get(run).pause_reason == "budget"


def test_a_run_that_a_user_paused_is_not_woken(team: Team) -> None:
    """Its user resumes it."""
    run = team.start(*TWO, cap_cents=100, allow_over_cap=True)
    (first,) = team.begin(run)
    team.pause(run, "user")
    team.settle(run, first, 1)
    assert team.get(run).pause_reason == "user"
    assert waking.wake(team.connection, [run.id], ("budget",), actor=None) == []


def test_a_woken_run_waits_for_a_place(team: Team) -> None:
    """It does not exceed the organisation's limit of running runs."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    run, first = short(team)
    team.apply()
    other = team.start()
    team.settle(run, first, 40)
    assert (team.get(run).pause_reason, team.get(other).status) == ("place", "running")
