"""Pause, resume and cancel runs: who may do it when, and what becomes of their pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import errors

from app.collection import runs
from app.collection.rules import TRANSITIONS
from app.collection.settings import set_settings
from app.collection.store import Run
from app.engine import audit_log
from app.errors import Conflict, InvalidInput
from events.collection import RunPaused
from tests.collection.conftest import Team
from tests.helpers.support import scalar

_SAID = "SELECT data FROM engine.event_log WHERE type = %s"


def pending(team: Team) -> Run:
    """A run that waits for a place."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    team.start(name="in the way")
    return team.start()


def running(team: Team) -> Run:
    """A run that is running."""
    return team.start()


def paused(team: Team) -> Run:
    """A run that its user paused."""
    run = team.start()
    return runs.pause_run(team.context, run.id, actor="ana")


def waiting(team: Team) -> Run:
    """A run that was resumed and waits for a place."""
    run = paused(team)
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    team.start(name="in the way")
    return runs.resume_run(team.context, run.id, actor="ana")


def completed(team: Team) -> Run:
    """A run whose pages are settled."""
    run = team.start()
    team.spend(run, 5, more=False)
    return team.get(run)


def failed(team: Team) -> Run:
    """A run whose source cannot go on."""
    run = team.start()
    (page_id,) = team.begin(run)
    team.settle(run, page_id, 0, status="failed", error_code="source_ended", ends_run=True)
    return team.get(run)


def cancelled(team: Team) -> Run:
    """A run that was cancelled."""
    return runs.cancel_run(team.context, team.start().id, actor="ana")


MAKE: list[Callable[[Team], Run]] = [pending, running, paused, waiting, completed, failed, cancelled]
ALLOWED: dict[Callable[..., Run], tuple[set[str], str]] = {
    runs.pause_run: ({"running", "waiting"}, "paused"),
    runs.resume_run: ({"paused"}, "resumed"),
    runs.cancel_run: ({"pending", "running", "paused", "waiting"}, "cancelled"),
}


@pytest.mark.parametrize("do", ALLOWED)
@pytest.mark.parametrize("make", MAKE)
def test_a_request_is_allowed_or_refused_with_the_state(
    team: Team, make: Callable[[Team], Run], do: Callable[..., Run]
) -> None:
    """A refusal names the run's state and changes nothing. Each change is in the audit log, with actor and reason."""
    before = make(team)
    states, done = ALLOWED[do]
    if make.__name__ in states:
        do(team.context, before.id, actor="ben", reason="too dear")
        (newest, *_) = audit_log.history(team.connection, before.id)
        assert (newest.actor, newest.reason) == ("ben", "too dear")
        assert team.get(before).changed_by == "ben"
        return
    state = "waiting for a place" if make is waiting else "paused (user)" if make is paused else before.status
    if make is pending and do is runs.resume_run:
        state = "waiting for a place"
    with pytest.raises(Conflict) as refused:
        do(team.context, before.id, actor="ben")
    assert f"run: {before.id} is {state}" in str(refused.value)
    assert f"cannot be {done}" in str(refused.value)
    assert team.get(before) == before
    assert not [one for one in audit_log.history(team.connection, before.id) if one.actor == "ben"]


@pytest.mark.parametrize("make", MAKE)
def test_times_and_reason_agree_with_the_status(team: Team, make: Callable[[Team], Run]) -> None:
    """`started_at` from the first start on, `paused_at` while paused, `completed_at` at the end."""
    run = make(team)
    assert (run.started_at is None) == (run.status == "pending")
    assert (run.paused_at is not None, run.pause_reason is not None) == (run.status == "paused",) * 2
    assert (run.completed_at is not None) == (run.status in {"completed", "failed", "cancelled"})


@pytest.mark.parametrize("make", MAKE)
def test_the_database_refuses_other_transitions(team: Team, make: Callable[[Team], Run]) -> None:
    """Also of another program's statements, with times that would be right."""
    run = make(team)
    statement = """
    UPDATE collection.collection_runs
       SET status = %(to)s, started_at = CASE WHEN %(to)s <> 'pending' THEN coalesce(started_at, now()) END,
           paused_at = CASE WHEN %(to)s = 'paused' THEN now() END,
           pause_reason = CASE WHEN %(to)s = 'paused' THEN 'user' END,
           completed_at = CASE WHEN %(to)s IN ('completed', 'failed', 'cancelled') THEN now() END
     WHERE id = %(id)s
    """
    for after in set(TRANSITIONS) - {run.status}:
        with team.connection.transaction(force_rollback=True):
            if after in TRANSITIONS[run.status]:
                team.connection.execute(statement, {"to": after, "id": run.id})
            else:
                with pytest.raises(errors.CheckViolation, match=f"a run that is {run.status} cannot become {after}"):
                    team.connection.execute(statement, {"to": after, "id": run.id})


@pytest.mark.parametrize(
    "change",
    [
        "paused_at = now()",
        "pause_reason = 'user'",
        "completed_at = now()",
        "started_at = NULL",
        "actual_cost_cents = 2501",
        "reserved_cost_cents = 2501",
        "processed_items = 1",
        "failed_items = -1",
    ],
)
def test_the_database_refuses_an_illegal_run(team: Team, change: str) -> None:
    """Times, budget and counters of a running run that do not agree."""
    run = team.start()
    with pytest.raises(errors.CheckViolation):
        team.connection.execute(
            f"UPDATE collection.collection_runs SET {change} WHERE id = %s",  # noqa: S608 - texts of this test
            [run.id],
        )


def test_a_pause_is_published_and_lets_begun_pages_settle(team: Team) -> None:
    """The page that has begun is booked. Its next page waits until the run is resumed."""
    run = team.start()
    (page_id,) = team.begin(run)
    runs.pause_run(team.context, run.id, actor="ana")
    team.settle(run, page_id, 70, next_cursor="2")
    now = team.get(run)
    assert (now.status, now.pause_reason, now.actual_cost_cents, now.reserved_cost_cents) == ("paused", "user", 70, 0)
    said = RunPaused(run_id=run.id, reason="user", spent_cents=0, cap_cents=2500)
    assert scalar(team.connection, _SAID, "collection/run.paused") == said.model_dump(mode="json")
    pages = "SELECT cursor, status, attempt FROM collection.collection_pages ORDER BY number"
    assert team.connection.execute(pages).fetchall() == [("", "completed", 1), ("2", "pending", 1)]
    runs.resume_run(team.context, run.id, actor="ana")
    team.apply()
    assert team.get(run).status == "running"
    assert team.connection.execute(pages).fetchall() == [("", "completed", 1), ("2", "pending", 2)]


def test_a_pause_of_a_waiting_run_keeps_it_from_starting(team: Team) -> None:
    """It was resumed and waits for a place: paused again, it does not continue when a place is free."""
    run = waiting(team)
    runs.pause_run(team.context, run.id, actor="ana")
    assert team.get(run).pause_reason == "user"
    set_settings(team.context, actor="ana", max_concurrent_runs=9)
    team.apply()
    assert team.get(run).status == "paused"


def test_a_cancelled_run_makes_no_further_call_and_keeps_its_books(team: Team) -> None:
    """Pending pages are cancelled. A page that has begun keeps its reservation until its bill is booked."""
    run = team.start()
    team.spend(run, 70)
    (page_id,) = team.begin(run)
    runs.cancel_run(team.context, run.id, actor="ana")
    team.apply()
    assert (team.get(run).actual_cost_cents, team.get(run).reserved_cost_cents) == (70, 100)
    team.settle(run, page_id, 80, next_cursor="3")
    now = team.get(run)
    assert (now.status, now.actual_cost_cents, now.reserved_cost_cents) == ("cancelled", 150, 0)
    pages = "SELECT count(*) FROM collection.collection_pages WHERE status IN ('pending', 'processing')"
    assert scalar(team.connection, pages) == 0


@pytest.mark.parametrize("make", [pending, running, paused, waiting])
def test_a_cancellation_is_published_once(team: Team, make: Callable[[Team], Run]) -> None:
    """With the run's totals, whatever state it was in. No page of it waits any more."""
    run = make(team)
    runs.cancel_run(team.context, run.id, actor="ana")
    team.apply()
    said = [data for (data,) in team.connection.execute(_SAID, ["collection/job.completed"])]
    assert [(one["run_id"], one["status"], one["actual_cost_cents"]) for one in said] == [(str(run.id), "cancelled", 0)]
    left = "SELECT DISTINCT status FROM collection.collection_pages WHERE run_id = %s"
    assert team.connection.execute(left, [run.id]).fetchall() == ([] if make is pending else [("cancelled",)])


def test_a_run_that_was_paused_at_its_last_page_completes_when_it_is_resumed(team: Team) -> None:
    """No page is left to request, so it ends at once."""
    run = team.start()
    (page_id,) = team.begin(run)
    runs.pause_run(team.context, run.id, actor="ana")
    team.settle(run, page_id, 5, next_cursor=None)
    assert team.get(run).status == "paused"
    runs.resume_run(team.context, run.id, actor="ana")
    team.apply()
    assert team.get(run).status == "completed"


@pytest.mark.parametrize("given", [{"actor": ""}, {"actor": "a\x00"}, {"actor": "ana", "reason": " "}])
def test_an_action_needs_an_author(team: Team, given: dict[str, Any]) -> None:
    """An empty actor or reason is refused by field."""
    run = team.start()
    for do in ALLOWED:
        with pytest.raises(InvalidInput, match=r"^(actor|reason): "):
            do(team.context, run.id, **given)
    assert team.get(run).status == "running"
