"""Create and read runs: validation, names, estimates and idempotency keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import database as doors
from app.collection import accounts, runs
from app.collection.rules import CategoryPlan
from app.collection.settings import set_settings
from app.errors import Conflict, DuplicateRequest, InvalidInput, KeyReused, NotFound
from app.testing.drain import waiting
from tests.collection.conftest import BOOKS, MARKETPLACE, Team, make_team
from tests.conftest import Database
from tests.helpers.support import scalar
from tests.helpers.waits import LIMIT_S

TOYS = CategoryPlan("toys", 2, 30)


def test_a_new_run_is_pending_with_its_estimate(team: Team) -> None:
    """The run has the settings' cap, and its event waits in the queue."""
    run = team.create(BOOKS, TOYS, unwanted=["B2", "B1", "B2"])
    assert (run.status, run.estimated_cost_cents, run.budget_cap_cents) == ("pending", 460, 2500)
    assert (run.marketplace, list(run.category_ids), list(run.unwanted)) == (
        MARKETPLACE,
        ["books", "toys"],
        ["B1", "B2"],
    )
    assert run.estimate == {"books": {"pages": 4, "price_cents": 100}, "toys": {"pages": 2, "price_cents": 30}}
    assert (run.org_id, run.created_by, run.cap_override_cents) == (team.org_id, team.user_id, None)
    assert (run.started_at, run.paused_at, run.completed_at) == (None, None, None)
    assert waiting(team.connection) == 1
    assert team.get(run) == run


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
def test_a_name_is_made_from_the_date_in_the_organisations_zone(team: Team, zone: str) -> None:
    """The zone is that of the organisation's first workspace. The two zones never have the same date."""
    team.connection.execute("UPDATE tenancy.workspaces SET timezone = %s", [zone])
    day = scalar(team.connection, "SELECT (now() AT TIME ZONE %s)::date::text", zone)
    assert team.create(BOOKS, TOYS).name == f"{day} books, toys"
    assert team.create(name=" My \n run ").name == "My run"


def test_an_organisation_without_workspaces_has_the_default_zone(team: Team) -> None:
    """A run gets a name all the same."""
    team.connection.execute("DELETE FROM tenancy.workspaces")
    day = scalar(team.connection, "SELECT (now() AT TIME ZONE 'America/Bogota')::date::text")
    assert team.create().name == f"{day} books"


def test_an_estimate_above_the_cap_is_refused_unless_allowed(team: Team) -> None:
    """The message has both figures. The run's own cap counts instead of the settings'."""
    dear = CategoryPlan("books", 26, 100)
    with pytest.raises(InvalidInput, match=r"2,600 cents and the cap 2,500 cents"):
        team.create(dear)
    with pytest.raises(InvalidInput, match=r"400 cents and the cap 399 cents"):
        team.create(cap_cents=399)
    set_settings(team.context, actor="ana", budget_cap_cents=300)
    with pytest.raises(InvalidInput, match=r"400 cents and the cap 300 cents"):
        team.create()
    assert runs.list_runs(team.context) == []
    assert team.create(dear, allow_over_cap=True).budget_cap_cents == 300
    own = team.create(dear, cap_cents=2600)
    assert (own.budget_cap_cents, own.cap_override_cents) == (2600, 2600)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"marketplace": "amazon de"}, "marketplace"),
        ({"marketplace": "unknown.com"}, "marketplace"),
        ({"categories": []}, "categories"),
        ({"categories": [BOOKS, BOOKS]}, "categories"),
        ({"name": ""}, "name"),
        ({"created_by": UUID(int=7)}, "created_by"),
        ({"cap_cents": -1}, "cap_cents"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"unwanted": [""]}, "unwanted"),
    ],
)
def test_an_invalid_request_is_refused_by_field(team: Team, given: dict[str, Any], field: str) -> None:
    """Nothing is stored, and nothing is published."""
    request = {"marketplace": MARKETPLACE, "categories": [BOOKS], "created_by": team.user_id, **given}
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        runs.create_run(team.context, **request)
    assert runs.list_runs(team.context) == []
    assert waiting(team.connection) == 0


def test_a_run_needs_an_enabled_account(team: Team) -> None:
    """The error names the marketplace and the remedy."""
    accounts.disable_account(team.context, MARKETPLACE)
    with pytest.raises(
        Conflict, match=r"^marketplace: the account with amazon\.de is disabled; `marketplaces enable amazon\.de`"
    ):
        team.create()
    accounts.enable_account(team.context, MARKETPLACE)
    assert team.create().status == "pending"


def test_a_repeated_request_is_reported_with_its_run(team: Team, other: Team) -> None:
    """The same key with the same content, with other content, and in another organisation."""
    run = team.create(BOOKS, TOYS, idempotency_key="day-1")
    # A repeat may have another quote, and the cap may have been lowered since.
    set_settings(team.context, actor="ana", budget_cap_cents=1)
    with pytest.raises(DuplicateRequest) as same:
        team.create(TOYS, CategoryPlan("books", 5, 110), idempotency_key="day-1")
    assert (same.value.job_id, same.value.key) == (run.id, "day-1")
    for given in ({"name": "another"}, {"cap_cents": 9000}, {"unwanted": ["B1"]}):
        with pytest.raises(KeyReused, match="choose a new key") as reused:
            team.create(BOOKS, TOYS, idempotency_key="day-1", **given)
        assert reused.value.job_id == run.id
    with pytest.raises(KeyReused):
        team.create(BOOKS, idempotency_key="day-1")
    assert other.create(BOOKS, TOYS, idempotency_key="day-1").id != run.id
    assert [one.id for one in runs.list_runs(team.context)] == [run.id]


def test_concurrent_requests_with_one_key_make_one_run(team: Team, database: Database) -> None:
    """One of them creates the run; the others are reported as duplicates of it."""
    together = Barrier(4)

    def create() -> UUID:
        with doors.connect(database.url, autocommit=True) as connection:
            together.wait(LIMIT_S)
            try:
                return Team(connection, team.org_id, team.user_id).create(idempotency_key="day-1").id
            except DuplicateRequest as duplicate:
                return duplicate.job_id

    with ThreadPoolExecutor(4) as threads:
        found = {one.result() for one in [threads.submit(create) for _ in range(4)]}
    assert found == {one.id for one in runs.list_runs(team.context)}
    assert len(found) == 1
    assert waiting(team.connection) == 1


def test_runs_are_listed_newest_first_by_pages(team: Team, other: Team) -> None:
    """`before` continues after the last run of a page, also among runs of the same instant."""
    made = [team.create(name=f"run {n}").id for n in range(5)]
    other.create()
    team.connection.execute("UPDATE collection.collection_runs SET created_at = now()")
    wanted = sorted(made, reverse=True)
    found: list[UUID] = []
    while page := runs.list_runs(team.context, before=found[-1] if found else None, limit=2):
        found += [run.id for run in page]
    assert found == wanted
    assert [run.id for run in runs.list_runs(team.context, status="pending", limit=1)] == wanted[:1]
    assert runs.list_runs(team.context, status="running") == []


def test_a_page_of_the_list_is_checked(team: Team, other: Team) -> None:
    """An unknown status and a wrong limit are refused. A run of another organisation starts no page."""
    for given in ({"status": "done"}, {"limit": 0}, {"limit": 1001}):
        with pytest.raises(InvalidInput, match=f"^{next(iter(given))}: "):
            runs.list_runs(team.context, **given)
    team.create()
    assert runs.list_runs(team.context, before=other.create().id) == []


def test_a_run_of_another_organisation_is_not_found(team: Team) -> None:
    """As if it did not exist."""
    run = make_and_equip(team).create()
    for run_id in (run.id, uuid4()):
        for do in (runs.pause_run, runs.resume_run, runs.cancel_run):
            with pytest.raises(NotFound, match=f"^run: {run_id} is no run of this organisation"):
                do(team.context, run_id, actor="ana")
        with pytest.raises(NotFound, match="`runs list`"):
            runs.get_run(team.context, run_id)


def make_and_equip(team: Team) -> Team:
    """Return another organisation with an account."""
    made = make_team(team.connection)
    made.equip("http://127.0.0.1:9")
    return made
