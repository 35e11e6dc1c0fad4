"""Places: at most `max_concurrent_runs` runs of an organisation are running; the next starts by itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest

import events
from app import database as doors
from app.collection import places, runs
from app.collection.rules import CategoryPlan
from app.collection.settings import set_settings
from app.context import Connection, Context
from app.engine.queue.publish import publish
from events.collection import JobSubmitted
from tests.collection.conftest import BOOKS, Team
from tests.conftest import Database
from tests.helpers.support import scalar
from tests.helpers.waits import LIMIT_S, until_somebody_waits

_REQUESTS = "SELECT count(*) FROM engine.queue_rows, jsonb_array_elements(events) e WHERE e ->> 'type' = %s"
_RUNNING = "SELECT count(*) FROM collection.collection_runs WHERE status = 'running'"


def requested(connection: Connection) -> int:
    """The requests of pages that wait."""
    return int(scalar(connection, _REQUESTS, "collection/page.requested"))


def test_a_submitted_run_starts(team: Team) -> None:
    """It requests the first page of each category once, also if its event is published twice."""
    run = team.start(BOOKS, CategoryPlan("toys", 1, 7))
    assert run.status == "running"
    assert run.started_at is not None
    assert requested(team.connection) == 2
    columns = "category_id, cursor, number, attempt, status, price_cents"
    pages = f"SELECT {columns} FROM collection.collection_pages ORDER BY 1"  # noqa: S608 - a constant
    assert team.connection.execute(pages).fetchall() == [
        ("books", "", 1, 1, "pending", 100),
        ("toys", "", 1, 1, "pending", 7),
    ]
    team.say(JobSubmitted(run_id=run.id))
    assert requested(team.connection) == 2


def test_the_cap_is_a_snapshot_at_the_start(team: Team) -> None:
    """A run that was created under another cap starts with the current one; its own cap stays."""
    plain, own = team.create(), team.create(cap_cents=800)
    setting = "INSERT INTO collection.collection_settings (org_id, budget_cap_cents) VALUES (%s, 700)"
    team.connection.execute(setting, [team.org_id])
    team.apply()
    assert [(run.budget_cap_cents, run.status) for run in map(team.get, (plain, own))] == [
        (700, "running"),
        (800, "running"),
    ]


def test_a_run_waits_for_a_place(team: Team, other: Team) -> None:
    """The fourth run waits as pending. Another organisation has places of its own."""
    four = [team.start() for _ in range(4)]
    assert team.statuses(*four) == ["running"] * 3 + ["pending"]
    assert other.start().status == "running"


def end(team: Team, run_id: UUID) -> None:
    """The marketplace says that the run cannot go on."""
    (page_id,) = team.begin(runs.get_run(team.context, run_id))
    run = runs.get_run(team.context, run_id)
    team.settle(run, page_id, 0, status="failed", error_code="source_ended", ends_run=True)


def finish(team: Team, run_id: UUID) -> None:
    """The run's last page is settled."""
    team.spend(runs.get_run(team.context, run_id), 5, more=False)


FREEING: dict[str, tuple[Callable[[Team, UUID], object], str]] = {
    "cancel": (lambda team, run_id: runs.cancel_run(team.context, run_id, actor="ana"), "cancelled"),
    "pause": (lambda team, run_id: runs.pause_run(team.context, run_id, actor="ana"), "paused"),
    "failure": (end, "failed"),
    "completion": (finish, "completed"),
}


@pytest.mark.parametrize("how", FREEING)
def test_the_oldest_waiting_run_starts_when_a_place_is_free(team: Team, how: str) -> None:
    """After a completion, a failure, a cancellation and a pause. One at a time, oldest first."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    first, second, third = (team.start(name=name) for name in ("first", "second", "third"))
    do, status = FREEING[how]
    do(team, first.id)
    team.apply()
    assert team.statuses(first, second, third) == [status, "running", "pending"]
    do(team, second.id)
    team.apply()
    assert team.statuses(first, second, third) == [status, status, "running"]


def test_a_resumed_run_waits_for_a_place(team: Team) -> None:
    """It stays paused with reason `place`, and continues by itself, before younger runs."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    first = team.start()
    runs.pause_run(team.context, first.id, actor="ana")
    second = team.start()
    third = team.create()
    runs.resume_run(team.context, first.id, actor="ana")
    team.apply()
    assert (team.get(first).status, team.get(first).pause_reason) == ("paused", "place")
    runs.cancel_run(team.context, second.id, actor="ana")
    team.apply()
    assert team.statuses(first, second, third) == ["running", "cancelled", "pending"]
    assert team.get(first).started_at == first.started_at


def test_two_starts_at_the_same_instant_do_not_take_the_same_place(team: Team, database: Database) -> None:
    """Two transactions start the waiting runs at once, for the last place: exactly one run starts."""
    set_settings(team.context, actor="ana", max_concurrent_runs=3)
    for _ in range(2):
        team.start()
    for _ in range(2):
        team.create()
    together = Barrier(2)

    def start() -> int:
        with doors.connect(database.url) as connection:
            together.wait(LIMIT_S)
            with connection.transaction():
                said = places.start_waiting(Context.start(connection, team.org_id), [team.org_id])
                publish(connection, *said)
            return len(said)

    for _ in range(10):
        with ThreadPoolExecutor(2) as threads:
            assert sorted(one.result() for one in [threads.submit(start) for _ in range(2)]) == [0, 1]
        assert scalar(team.connection, _RUNNING) == 3
        (youngest, *_) = runs.list_runs(team.context, status="running")
        # The place is free again, without an event: the next round has two starts for one place.
        team.connection.execute(
            "UPDATE collection.collection_runs SET status = 'paused', paused_at = now(), pause_reason = 'place'"
            " WHERE id = %s",
            [youngest.id],
        )


def test_two_starts_of_different_runs_do_not_take_the_same_place(team: Team, database: Database) -> None:
    """An older run is resumed while another start takes the last place: the second start waits, and counts again."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    older = team.start()
    runs.pause_run(team.context, older.id, actor="ana")
    younger = team.create()
    team.connection.execute("DELETE FROM public.procrastinate_jobs")
    with doors.connect(database.url) as first, doors.connect(database.url) as second:
        assert len(places.start_waiting(Context.start(first, team.org_id), [team.org_id])) == 1
        runs.resume_run(team.context, older.id, actor="ana")
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(places.start_waiting, Context.start(second, team.org_id), [team.org_id])
            until_somebody_waits(team.connection)
            first.commit()
            assert waiting.result(LIMIT_S) == []
        second.commit()
    assert team.statuses(older, younger) == ["paused", "running"]


def test_a_cancelled_run_is_not_started(team: Team, database: Database) -> None:
    """A run that is cancelled while a start waits for its lock stays cancelled, and the next one gets the place."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    first, second = team.create(), team.create()
    team.connection.execute("DELETE FROM public.procrastinate_jobs")
    with doors.connect(database.url) as canceller, doors.connect(database.url) as starter:
        canceller.execute("SELECT")  # begins a transaction
        runs.cancel_run(Context.start(canceller, team.org_id), first.id, actor="ana")
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(places.start_waiting, Context.start(starter, team.org_id), [team.org_id])
            until_somebody_waits(team.connection)
            canceller.commit()
            assert waiting.result(LIMIT_S) == []
        starter.commit()
    team.apply()
    assert team.statuses(first, second) == ["cancelled", "running"]


def test_an_event_of_another_organisation_starts_nothing(team: Team, other: Team) -> None:
    """The event becomes a dead letter; the run stays pending."""
    run = team.create()
    team.connection.execute("DELETE FROM public.procrastinate_jobs")
    other.say(JobSubmitted(run_id=run.id))
    assert team.get(run).status == "pending"
    letters = "SELECT error_message FROM engine.failed_jobs"
    assert "is not of this organisation" in scalar(team.connection, letters)


def test_an_event_without_an_organisation_is_dead(team: Team) -> None:
    """It names no tenant, so it starts nothing."""
    run = team.create()
    team.connection.execute("DELETE FROM public.procrastinate_jobs")
    said = events.new(JobSubmitted(run_id=run.id), now=team.context.now, subject=run.id, tenant=None)
    publish(team.connection, said)
    team.apply()
    assert team.get(run).status == "pending"
    assert scalar(team.connection, "SELECT count(*) FROM engine.failed_jobs") == 1


def test_an_organisation_that_is_gone_frees_nothing(team: Team) -> None:
    """The event of its last run is applied without effect."""
    run = team.start()
    runs.cancel_run(team.context, run.id, actor="ana")
    team.connection.execute("DELETE FROM tenancy.orgs WHERE id = %s", [team.org_id])
    team.apply()
    assert scalar(team.connection, "SELECT count(*) FROM engine.failed_jobs") == 0
