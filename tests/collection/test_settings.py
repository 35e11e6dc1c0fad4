"""Settings of an organisation, and what a change does to its runs in the same commit."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest
from psycopg.errors import InsufficientPrivilege, InvalidParameterValue

from app import database as doors
from app.collection import budget, places, runs
from app.collection.settings import Settings, get_settings, set_settings, set_settings_as_admin
from app.context import Connection, Context
from app.engine import audit_log, event_types
from app.errors import Forbidden, InvalidInput
from events import new_id
from tests.collection.conftest import Team
from tests.conftest import Database
from tests.helpers.factories import make_user
from tests.helpers.support import scalar
from tests.helpers.waits import LIMIT_S, until_somebody_waits

_SAID = "SELECT data ->> 'run_id', data ->> 'reason' FROM engine.event_log WHERE type = 'collection/run.paused'"
_WARNED = """
SELECT (data ->> 'spent_cents')::integer, (data ->> 'cap_cents')::integer FROM engine.event_log
 WHERE type = 'collection/budget.warned'
"""


def test_an_organisation_has_the_defaults_until_it_sets_something(team: Team, other: Team) -> None:
    """A value that is not given stays. Other organisations are not affected."""
    assert get_settings(team.context) == Settings(2500, 80, 3, None)
    changed = set_settings(team.context, actor="ana", soft_warning_percent=50)
    assert changed.settings == get_settings(team.context)
    assert changed.settings == Settings(2500, 50, 3, changed.settings.updated_at)
    assert changed.settings.updated_at is not None
    set_settings(team.context, actor="ana", budget_cap_cents=0, max_concurrent_runs=9)
    found = get_settings(team.context)
    assert (found.budget_cap_cents, found.soft_warning_percent, found.max_concurrent_runs) == (0, 50, 9)
    assert get_settings(other.context) == Settings()


def test_a_change_is_in_the_audit_log(team: Team) -> None:
    """With its author and the given values."""
    set_settings(team.context, actor=" ana ", budget_cap_cents=7)
    (entry,) = audit_log.history(team.connection, team.org_id)
    assert (entry.actor, entry.action) == ("ana", "set collection settings")
    assert entry.details == {"cap": 7, "percent": None, "runs": None}


def test_an_invalid_setting_is_refused(team: Team) -> None:
    """Nothing is stored."""
    for given in ({"budget_cap_cents": -1}, {"soft_warning_percent": 0}, {"max_concurrent_runs": 0}, {"actor": ""}):
        with pytest.raises(InvalidInput, match=rf"^{next(iter(given))}: "):
            set_settings(team.context, **{"actor": "ana", **given})  # type: ignore[arg-type]
    assert get_settings(team.context) == Settings()


def test_a_cap_below_what_a_run_has_spent_pauses_it(team: Team) -> None:
    """At once, with reason `budget`. A run that has spent as much as the cap, or less, goes on."""
    much, some, less = (team.start(name=name) for name in ("much", "some", "less"))
    for run, cost in ((much, 51), (some, 50), (less, 49)):
        team.spend(run, cost)
    changed = set_settings(team.context, actor="ana", budget_cap_cents=50)
    assert (changed.paused, changed.woken) == ([much.id], [])
    assert team.statuses(much, some, less) == ["paused", "running", "running"]
    found = team.get(much)
    assert (found.pause_reason, found.budget_cap_cents, found.changed_by) == ("budget", 51, "ana")
    assert [team.get(run).budget_cap_cents for run in (some, less)] == [50, 50]
    team.apply()
    assert team.connection.execute(_SAID).fetchall() == [(str(much.id), "budget")]


def test_a_paused_run_gives_its_place_to_the_next(team: Team) -> None:
    """The next run starts with the lower cap."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    run = team.start()
    team.spend(run, 60)
    second = team.start(cap_cents=400)
    third = team.create()
    set_settings(team.context, actor="ana", budget_cap_cents=50)
    team.apply()
    assert team.statuses(run, second, third) == ["paused", "running", "pending"]


def test_a_cap_does_not_fall_below_reservations_that_have_begun(team: Team) -> None:
    """It is at least what is spent and reserved, allows no further page, and follows when pages are settled."""
    run = team.start()
    team.spend(run, 50)
    (page_id,) = team.begin(run)
    set_settings(team.context, actor="ana", budget_cap_cents=60)
    assert (team.get(run).status, team.get(run).budget_cap_cents) == ("running", 150)
    team.settle(run, page_id, 1, next_cursor="3")
    assert (team.get(run).actual_cost_cents, team.get(run).budget_cap_cents) == (51, 60)
    assert team.begin(run) == []


def test_a_raised_cap_wakes_the_runs_that_waited_for_it(team: Team) -> None:
    """Runs that were paused for the budget continue; those of a user do not."""
    budget, user = team.start(name="budget"), team.start(name="user")
    for run in (budget, user):
        team.spend(run, 60)
    runs.pause_run(team.context, user.id, actor="ben")
    set_settings(team.context, actor="ana", budget_cap_cents=50)
    changed = set_settings(team.context, actor="ana", budget_cap_cents=160)
    assert (changed.paused, changed.woken) == ([], [budget.id])
    assert team.get(budget).pause_reason == "place"
    team.apply()
    assert team.statuses(budget, user) == ["running", "paused"]
    assert [team.get(run).budget_cap_cents for run in (budget, user)] == [160, 160]
    assert (team.get(budget).paused_at, team.get(budget).pause_reason) == (None, None)
    assert len(team.begin(budget)) == 1


def test_a_raised_cap_without_room_for_the_next_page_wakes_nothing(team: Team) -> None:
    """The run would pause at once."""
    run = team.start()
    team.spend(run, 60)
    set_settings(team.context, actor="ana", budget_cap_cents=50)
    assert set_settings(team.context, actor="ana", budget_cap_cents=159).woken == []
    assert (team.get(run).status, team.get(run).budget_cap_cents) == ("paused", 159)


def test_a_raised_cap_books_an_overrun_as_far_as_it_fits(team: Team) -> None:
    """A run continues when all of its overrun is booked and its next page fits."""
    set_settings(team.context, actor="ana", budget_cap_cents=120)
    run = team.start(allow_over_cap=True)
    team.spend(run, 200)
    over = team.get(run)
    assert (over.status, over.pause_reason) == ("paused", "overrun")
    assert (over.actual_cost_cents, over.overrun_cents) == (120, 80)
    assert set_settings(team.context, actor="ana", budget_cap_cents=150).woken == []
    part = team.get(run)
    assert (part.actual_cost_cents, part.overrun_cents, part.status) == (150, 50, "paused")
    assert set_settings(team.context, actor="ana", budget_cap_cents=300).woken == [run.id]
    team.apply()
    whole = team.get(run)
    assert (whole.actual_cost_cents, whole.overrun_cents, whole.status) == (200, 0, "running")


def test_a_woken_run_without_further_pages_completes(team: Team) -> None:
    """Its overrun is booked, and nothing is left to do."""
    set_settings(team.context, actor="ana", budget_cap_cents=120)
    run = team.start(allow_over_cap=True)
    team.spend(run, 200, more=False)
    if team.get(run).status == "paused":
        assert set_settings(team.context, actor="ana", budget_cap_cents=200).woken == [run.id]
        team.apply()
    found = team.get(run)
    assert (found.status, found.actual_cost_cents + found.overrun_cents) == ("completed", 200)


def test_a_run_keeps_its_own_cap(team: Team) -> None:
    """Through lower and higher settings, and through pauses and resumes, also automatic ones."""
    set_settings(team.context, actor="ana", budget_cap_cents=500)
    run = team.start(cap_cents=250, allow_over_cap=True)
    for _ in range(2):
        team.spend(run, 120)
    assert team.begin(run) == []
    with team.connection.transaction():
        budget.pause(team.context, [run.id], "budget")
    for cap in (100, 5000):
        changed = set_settings(team.context, actor="ana", budget_cap_cents=cap)
        assert (changed.paused, changed.woken) == ([], [])
        assert (team.get(run).budget_cap_cents, team.get(run).status) == (250, "paused")
    runs.resume_run(team.context, run.id, actor="ana")
    team.apply()
    younger = team.start(allow_over_cap=True)
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    runs.pause_run(team.context, run.id, actor="ana")
    team.apply()
    runs.resume_run(team.context, run.id, actor="ana")
    team.apply()
    assert team.get(run).pause_reason == "place"
    runs.cancel_run(team.context, younger.id, actor="ana")
    team.apply()
    found = team.get(run)
    assert (found.status, found.budget_cap_cents, found.cap_override_cents) == ("running", 250, 250)


def test_fewer_concurrent_runs_let_the_youngest_wait(team: Team) -> None:
    """Never more are running than allowed. The others continue by themselves, oldest first."""
    first, second, third = (team.start(name=name) for name in ("first", "second", "third"))
    changed = set_settings(team.context, actor="ana", max_concurrent_runs=1)
    assert sorted(changed.paused) == sorted([second.id, third.id])
    assert team.statuses(first, second, third) == ["running", "paused", "paused"]
    assert team.get(second).pause_reason == "place"
    team.apply()
    assert team.statuses(first, second, third) == ["running", "paused", "paused"]
    runs.cancel_run(team.context, first.id, actor="ana")
    team.apply()
    assert team.statuses(first, second, third) == ["cancelled", "running", "paused"]
    set_settings(team.context, actor="ana", max_concurrent_runs=2)
    team.apply()
    assert team.statuses(second, third) == ["running", "running"]


def test_a_change_that_crosses_the_line_warns_once(team: Team) -> None:
    """A lower cap or percentage, which the run has reached, publishes one warning."""
    run = team.start()
    team.spend(run, 100)
    set_settings(team.context, actor="ana", budget_cap_cents=201, soft_warning_percent=50)
    assert team.get(run).warned_at is None
    set_settings(team.context, actor="ana", budget_cap_cents=200)
    assert team.get(run).warned_at is not None
    set_settings(team.context, actor="ana", soft_warning_percent=1)
    team.apply()
    assert team.connection.execute(_WARNED).fetchall() == [(100, 200)]


def test_a_start_and_a_lower_limit_agree(team: Team, database: Database) -> None:
    """A start waits for the settings that are being written, and uses them."""
    team.start()
    second = team.create()
    team.connection.execute("DELETE FROM public.procrastinate_jobs")
    with doors.connect(database.url) as setter:
        setter.execute("SELECT")  # begins a transaction
        set_settings(Context.start(setter, team.org_id), actor="ana", max_concurrent_runs=1, budget_cap_cents=900)
        with ThreadPoolExecutor(1) as thread:
            applied = thread.submit(_resubmit, team, database)
            until_somebody_waits(team.connection)
            setter.commit()
            applied.result(LIMIT_S)
    assert team.get(second).status == "pending"


def test_a_change_waits_for_a_start(team: Team, database: Database) -> None:
    """It locks places before runs, as a start does, and then lets the run wait that has just been started."""
    first = team.start()
    second = team.create()

    def change() -> None:
        with doors.connect(database.url, autocommit=True) as connection:
            set_settings(Context.start(connection, team.org_id), actor="ana", max_concurrent_runs=1)

    with doors.connect(database.url) as starter:
        places.lock(starter, [team.org_id])
        with ThreadPoolExecutor(1) as thread:
            changed = thread.submit(change)
            until_somebody_waits(team.connection)
            assert len(places.start_waiting(Context.start(starter, team.org_id), [team.org_id])) == 1
            starter.commit()
            changed.result(LIMIT_S)
    assert team.statuses(first, second) == ["running", "paused"]
    assert team.get(second).pause_reason == "place"


def _resubmit(team: Team, database: Database) -> None:
    with doors.connect(database.url) as connection:
        assert places.start_waiting(Context.start(connection, team.org_id), [team.org_id]) == []


def test_concurrent_changes_leave_runs_and_settings_in_agreement(team: Team, database: Database) -> None:
    """Whichever cap is written last is the cap of every run."""
    some = [team.start(name=str(n)) for n in range(3)]
    together = Barrier(2)

    def change(cap: int) -> None:
        with doors.connect(database.url, autocommit=True) as connection:
            together.wait(LIMIT_S)
            set_settings(Context.start(connection, team.org_id), actor="ana", budget_cap_cents=cap)

    for turn in range(5):
        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(change, 1000 + 2 * turn + n) for n in range(2)]:
                done.result(LIMIT_S)
        cap = get_settings(team.context).budget_cap_cents
        assert {team.get(run).budget_cap_cents for run in some} == {cap}


# As a person --------------------------------------------------------------------------------------


@pytest.fixture
def routed(connection: Connection) -> None:
    """The routes of event types, which `db migrate` writes."""
    event_types.register(connection)


def set_as(
    person: UUID, team: Team, cap: int | None, percent: int | None = None, most: int | None = None
) -> tuple[Sequence[UUID], Sequence[UUID]]:
    """Set the settings of a team as a person. Returns the paused and the woken runs."""
    given = {"budget_cap_cents": cap, "soft_warning_percent": percent, "max_concurrent_runs": most}
    with doors.as_person(team.connection, person):
        done = set_settings_as_admin(team.context, **given)
    return done.paused, done.woken


@pytest.mark.usefixtures("routed")
def test_an_admin_sets_the_settings_under_row_level_security(team: Team) -> None:
    """A lower cap pauses a run and a higher one wakes it, in the same commit, with the person in the audit log."""
    run = team.start()
    team.spend(run, 60)
    assert set_as(team.user_id, team, 50, 70, 2) == ([run.id], [])
    assert (team.get(run).status, team.get(run).pause_reason) == ("paused", "budget")
    found = get_settings(team.context)
    assert (found.budget_cap_cents, found.soft_warning_percent, found.max_concurrent_runs) == (50, 70, 2)
    assert set_as(team.user_id, team, 500) == ([], [run.id])
    assert get_settings(team.context).soft_warning_percent == 70
    team.apply()
    assert (team.get(run).status, team.get(run).budget_cap_cents) == ("running", 500)
    assert team.connection.execute(_SAID).fetchall() == [(str(run.id), "budget")]
    last, first = audit_log.history(team.connection, team.org_id)
    assert (first.actor, first.details) == (f"user {team.user_id}", {"cap": 50, "percent": 70, "runs": 2})
    assert last.action == "set collection settings"


@pytest.mark.usefixtures("routed")
def test_only_an_admin_of_the_organisation_sets_them(team: Team, other: Team) -> None:
    """A member, another organisation's admin, and a person who does not exist are refused, and nothing changes."""
    member = make_user(team.connection)
    join = "INSERT INTO tenancy.org_members (org_id, user_id) VALUES (%s, %s)"
    team.connection.execute(join, [team.org_id, member])
    for person in (member, other.user_id, new_id()):
        with pytest.raises(Forbidden, match=r"^role: only an admin of the organisation"):
            set_as(person, team, 7)
    with pytest.raises(InsufficientPrivilege), doors.as_visitor(team.connection):
        team.connection.execute("SELECT collection.set_settings(%s, 7)", [team.org_id])
    assert get_settings(team.context) == Settings()


@pytest.mark.parametrize(
    ("values", "field"),
    [((-1, None, None), "budget_cap_cents"), ((None, 101, None), "soft_warning_percent"),
     ((None, None, 0), "max_concurrent_runs"), ((None, None, 1001), "max_concurrent_runs")],
)  # fmt: skip
def test_an_admin_gives_values_in_range(team: Team, values: tuple[int | None, ...], field: str) -> None:
    """The error names the field, also if the admin calls the database's function with another client."""
    with pytest.raises(InvalidInput, match=f"^{field}: must be"):
        set_as(team.user_id, team, *values)
    statement = "SELECT collection.set_settings(%s, %s, %s, %s)"
    with (
        pytest.raises(InvalidParameterValue, match=f"^{field}: must be"),
        doors.as_person(team.connection, team.user_id),
    ):
        team.connection.execute(statement, [team.org_id, *values])


def test_a_person_changes_no_row_directly(team: Team) -> None:
    """A cap that a person changed directly would pause no run. A member reads the settings."""
    set_settings(team.context, actor="ana", budget_cap_cents=7)
    with doors.as_person(team.connection, team.user_id):
        assert get_settings(team.context).budget_cap_cents == 7
    granted = "SELECT has_table_privilege('authenticated', 'collection.collection_settings', 'INSERT, UPDATE, DELETE')"
    assert scalar(team.connection, granted) is False
    inner = (
        "SELECT has_function_privilege('authenticated', 'collection.apply_settings(uuid,int,int,int,text)', 'EXECUTE')"
    )
    assert scalar(team.connection, inner) is False
