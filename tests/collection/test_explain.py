"""Explain: why a run, a page or an item does not go on, or how it ended."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from app.collection import accounts, runs
from app.collection.explain import tenant_of
from app.collection.reasons import (
    AccountResting,
    AccountUnusable,
    Budget,
    CallsBusy,
    ItemEnded,
    NoPlace,
    PageEnded,
    RunEnded,
    RunPaused,
)
from app.collection.settings import set_settings
from app.context import Connection
from app.engine.inspect.reasons import Dead, Reason
from app.errors import NotFound
from app.simulators.marketplace import Rule
from tests.collection.conftest import MARKETPLACE, Team
from tests.helpers.collecting import Desk
from tests.helpers.explained import explain_item, explain_job, explain_workspace
from tests.helpers.health_fixtures import enlist
from tests.helpers.support import drain_all, scalar


@pytest.fixture(autouse=True)
def _worker(connection: Connection) -> None:
    """A worker serves every queue."""
    enlist(connection)


def kinds(reasons: list[Reason]) -> list[str]:
    """The kinds of the reasons, in their order. Each has a sentence."""
    assert all(reason.sentence for reason in reasons)
    return [reason.kind for reason in reasons]


def of(kind: type[Reason], reasons: list[Reason]) -> Any:
    """The only reason of a kind."""
    (found,) = [reason for reason in reasons if isinstance(reason, kind)]
    return found


def pages_of(connection: Connection, run_id: UUID) -> list[UUID]:
    """The ids of a run's pages."""
    return [
        page_id
        for (page_id,) in connection.execute("SELECT id FROM collection.collection_pages WHERE run_id = %s", [run_id])
    ]


def test_a_submitted_run_waits_with_its_event(team: Team) -> None:
    """It is the next to start. Its books are shown."""
    run = team.create()
    found = explain_job(team.connection, run.id)
    assert kinds(found) == ["no_place", "waiting", "budget"]
    assert of(NoPlace, found) == NoPlace(position=1, running=0, most=3)


def test_a_running_run_waits_with_the_requests_of_its_pages(team: Team) -> None:
    """So does each of its pages. The books say what is left of the cap."""
    run = team.start(cap_cents=1000)
    team.begin(run)
    found = explain_job(team.connection, run.id)
    assert kinds(found) == ["waiting", "budget"]
    assert of(Budget, found) == Budget(0, 100, 0, 1000, own_cap=True)
    assert of(Budget, found).sentence == (
        "0 cents spent and 100 cents reserved of its own cap of 1,000 cents, 900 cents left"
    )
    (page_id,) = pages_of(team.connection, run.id)
    assert kinds(explain_item(team.connection, page_id)) == ["waiting"]


def test_a_waiting_run_has_a_position(team: Team) -> None:
    """Older waiting runs come first, whether pending or resumed."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    first = team.start()
    runs.pause_run(team.context, first.id, actor="ana")
    team.start()
    runs.resume_run(team.context, first.id, actor="ana")
    team.apply()
    third = team.start()
    assert of(NoPlace, explain_job(team.connection, first.id)) == NoPlace(1, 1, 1)
    assert of(NoPlace, explain_job(team.connection, third.id)) == NoPlace(2, 1, 1)
    assert kinds(explain_job(team.connection, first.id))[:2] == ["paused", "no_place"]
    assert "continues by itself" in of(RunPaused, explain_job(team.connection, first.id)).sentence
    assert kinds(explain_job(team.connection, third.id)) == ["no_place", "budget"]


def test_a_paused_run_says_by_whom_and_what_to_do(team: Team) -> None:
    """A pause of a user, and one by the budget."""
    run = team.start()
    runs.pause_run(team.context, run.id, actor="ana")
    found = of(RunPaused, explain_job(team.connection, run.id))
    assert (found.reason, found.by, found.since) == ("user", "ana", team.get(run).paused_at)
    assert "by ana (user)" in found.sentence
    assert f"`runs resume {run.id}`" in found.sentence
    runs.resume_run(team.context, run.id, actor="ana")
    team.apply()
    team.spend(run, 60)
    set_settings(team.context, actor="ben", budget_cap_cents=50)
    found = of(RunPaused, explain_job(team.connection, run.id))
    assert (found.reason, "raise the cap" in found.sentence) == ("budget", True)


def test_an_overrun_is_in_the_books(team: Team) -> None:
    """Of a paused run, and at its end."""
    run = team.start(cap_cents=120, allow_over_cap=True)
    team.spend(run, 200)
    assert "80 cents charged above the cap" in of(Budget, explain_job(team.connection, run.id)).sentence
    runs.cancel_run(team.context, run.id, actor="ana")
    team.apply()
    found = of(RunEnded, explain_job(team.connection, run.id))
    assert "120 cents spent and 80 cents above the cap" in found.sentence


def test_an_ended_run_says_how(team: Team) -> None:
    """Its status, counters and cost; the error of a failed one."""
    run = team.start()
    (page_id,) = team.begin(run)
    team.settle(
        run, page_id, 0, status="failed", error_code="source_ended", error_message="closed for good", ends_run=True
    )
    team.connection.execute("DELETE FROM public.procrastinate_jobs")
    (found,) = explain_job(team.connection, run.id)
    assert isinstance(found, RunEnded)
    assert (found.kind, found.status, found.spent, found.error_code) == ("done", "failed", 0, "source_ended")
    assert "closed for good" in found.sentence
    (page,) = explain_item(team.connection, page_id)
    assert isinstance(page, PageEnded)
    assert (page.status, page.cost, "source_ended" in page.sentence) == ("failed", 0, True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("is_enabled = false", "is disabled"),
        ("api_key = NULL", "has no API key"),
        ("base_url = NULL", "has no URL"),
    ],
)
def test_an_unusable_account_is_a_reason(team: Team, change: str, why: str) -> None:
    """For a run, its pages, and the organisation."""
    run = team.start()
    team.connection.execute(f"UPDATE collection.marketplace_accounts SET {change}".encode())  # noqa: S608 - of this test
    wanted = AccountUnusable(team.org_id, MARKETPLACE, why)
    (page_id,) = pages_of(team.connection, run.id)
    for found in (
        explain_job(team.connection, run.id),
        explain_item(team.connection, page_id),
        explain_workspace(team.connection, team.org_id),
    ):
        assert of(AccountUnusable, found) == wanted
        assert why in wanted.sentence


def test_an_account_that_is_gone_is_a_reason(team: Team) -> None:
    """No page can be bought."""
    run = team.start()
    team.connection.execute("DELETE FROM collection.marketplace_accounts")
    assert of(AccountUnusable, explain_job(team.connection, run.id)).why == "does not exist"


def test_a_resting_account_says_until_when(desk: Desk) -> None:
    """The marketplace's `Retry-After` is shown for the run, its pages, and the organisation, with the time."""
    desk.market.change(rules=[Rule(then="busy").model_dump()], retry_after_s=90)
    run = desk.submit("books", "toys")
    desk.work()
    shown = scalar(desk.connection, "SELECT until FROM engine.rests")
    for found in (
        explain_job(desk.connection, run.id),
        explain_item(desk.connection, pages_of(desk.connection, run.id)[0]),
        explain_workspace(desk.connection, desk.org_id),
    ):
        resting = of(AccountResting, found)
        assert (resting.kind, resting.marketplace, resting.until) == ("resting", MARKETPLACE, shown)
        assert f"rests until {shown:%Y-%m-%d %H:%M:%S}" in resting.sentence
        assert kinds(found).count("resting") == 1


def test_pages_that_wait_for_a_call_name_the_account(team: Team) -> None:
    """With the marketplace's name instead of the limit's key."""
    run = team.start()
    account = accounts.show_account(team.context, MARKETPLACE)
    parked = """
    WITH row AS (DELETE FROM public.procrastinate_jobs WHERE queue_name = 'marketplaces' RETURNING *)
    INSERT INTO engine.delayed (queue_name, task_name, priority, args, due_at, key, most)
    SELECT queue_name, task_name, priority, args, now() + interval '1 hour', %s, 8 FROM row
    """
    team.connection.execute(parked, [accounts.limit_key(account.id)])
    found = of(CallsBusy, explain_job(team.connection, run.id))
    assert (found.events, found.marketplace, found.held, found.max_calls) == (1, MARKETPLACE, 0, 8)
    assert "0 of 8 of the account with amazon.de" in found.sentence


def test_a_dead_page_is_a_reason(desk: Desk) -> None:
    """With the command that shows the letter."""
    desk.market.change(rules=[Rule(contains="books", then="error").model_dump()])
    run = desk.submit("books")
    drain_all(desk.connection)
    found = explain_job(desk.connection, run.id)
    assert "dead show" in of(Dead, found).sentence
    (page_id,) = pages_of(desk.connection, run.id)
    assert "dead" in kinds(explain_item(desk.connection, page_id))


def test_an_item_says_how_it_ended(desk: Desk) -> None:
    """A completed item, and one that failed."""
    run = desk.submit("books")
    desk.work()
    item = desk.items(run.id)[0]
    (found,) = explain_item(desk.connection, item["id"])
    assert isinstance(found, ItemEnded)
    assert (found.status, found.external_id) == (item["status"], item["external_id"])
    assert found.completed_at == item["completed_at"]


def test_an_unknown_id_is_not_found(team: Team) -> None:
    """Neither as a run nor as an item."""
    for ask in (explain_job, explain_item):
        with pytest.raises(NotFound, match="there is no"):
            ask(team.connection, uuid4())
    assert tenant_of(team.connection, uuid4()) is None


def test_the_organisation_of_an_id_is_found(desk: Desk) -> None:
    """Of a run, a page and an item."""
    run = desk.submit("books")
    desk.work()
    ids = [run.id, pages_of(desk.connection, run.id)[0], desk.items(run.id)[0]["id"]]
    assert [tenant_of(desk.connection, one) for one in ids] == [desk.org_id] * 3
    assert scalar(desk.connection, "SELECT count(*) FROM collection.collection_items") > 0
