"""Locks of the handlers of runs: which rows a delivery locks, and what a row that is locked elsewhere delays."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import events
from app import database as doors
from app.collection import handlers, runs
from app.collection.settings import set_settings
from app.engine.inspect.waiting import LockHeld
from events import Event, Payload
from events.collection import BudgetWarned, JobCompleted, PageCompleted
from tests.collection.conftest import Team
from tests.conftest import Database
from tests.helpers.explained import explain_job
from tests.helpers.support import drain, drain_all

_FREE = "SELECT id FROM collection.collection_runs FOR UPDATE SKIP LOCKED"
_HOLD = "SELECT FROM collection.places WHERE org_id = %s FOR UPDATE"


def event(team: Team, payload: Payload) -> Event[Any]:
    """An event of the organisation."""
    return events.new(payload, now=team.context.now, subject=None, tenant=team.org_id)


def ended(run_id: UUID) -> JobCompleted:
    """A run has ended."""
    counted = {"total_items": 0, "processed_items": 0, "failed_items": 0, "actual_cost_cents": 0}
    return JobCompleted(run_id=run_id, status="completed", **counted)


def settled(run_id: UUID, page_id: UUID) -> PageCompleted:
    """A page has a result."""
    return PageCompleted(run_id=run_id, page_id=page_id, attempt=1, status="completed")


def test_a_delivery_locks_the_runs_of_results_and_those_that_may_start(team: Team, database: Database) -> None:
    """Together, before its handlers change anything. Runs that neither start nor have a result stay free."""
    set_settings(team.context, actor="ana", max_concurrent_runs=2)
    changed, other, started = team.start(), team.start(), team.start()
    left = team.start()
    runs.cancel_run(team.context, other.id, actor="ana")
    said = [event(team, ended(other.id)), event(team, settled(changed.id, uuid4()))]
    with doors.connect(database.url) as delivery, doors.connect(database.url) as another:
        handlers.lock(delivery, said)
        free = {run_id for (run_id,) in another.execute(_FREE)}
    assert free == {other.id, left.id}
    assert changed.id not in free
    assert started.id not in free


def test_a_delivery_without_such_events_locks_nothing(team: Team, database: Database) -> None:
    """A warning changes no run."""
    run = team.create()
    said = [event(team, BudgetWarned(run_id=run.id, spent_cents=1, cap_cents=1))]
    with doors.connect(database.url) as delivery, doors.connect(database.url) as another:
        handlers.lock(delivery, said)
        assert [run_id for (run_id,) in another.execute(_FREE)] == [run.id]


def test_a_locked_place_delays_the_runs_of_its_organisation_alone(team: Team, other: Team, database: Database) -> None:
    """The other organisation's run starts. `explain` names the table and the session that holds the lock."""
    team.start()
    waiting, started = team.create(), other.create()
    with doors.connect(database.url) as holder:
        holder.execute(_HOLD, [team.org_id])
        drain(queues=["events"])
        assert (team.statuses(waiting), other.statuses(started)) == (["pending"], ["running"])
        (found,) = [one for one in explain_job(team.connection, waiting.id) if isinstance(one, LockHeld)]
        assert (found.table, found.id, found.pid) == ("collection.places", team.org_id, holder.info.backend_pid)
    drain_all(team.connection)
    assert team.get(waiting).started_at is not None
