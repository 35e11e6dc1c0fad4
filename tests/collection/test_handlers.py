"""Handlers of the events of runs, and the rows that they lock."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

import events
from app.collection import handlers
from app.context import HandlerContext
from app.errors import FailingEvents
from events import Event, Payload, new_id
from events.collection import ItemCompleted, JobSubmitted, PageCompleted, PageRequested, RunPaused
from tests.collection.conftest import BOOKS, MARKETPLACE, Team


def event(team: Team, payload: Payload, tenant: UUID | None) -> Event[Any]:
    """Return an event of a tenant."""
    return events.new(payload, now=team.context.now, subject=None, tenant=tenant)


def test_a_submitted_run_is_started(team: Team) -> None:
    """Returns the requests of its first pages. Without a waiting run there are none."""
    run = team.create(BOOKS)
    said = event(team, JobSubmitted(run_id=run.id), team.org_id)
    with team.connection.transaction():
        context = HandlerContext.begin(team.connection)
        (requested,) = handlers.job_submitted(context, [said])
        assert list(handlers.job_submitted(context, [said])) == []
    assert (requested.data.run_id, requested.data.category_id) == (run.id, "books")
    assert team.get(run).status == "running"


def test_a_run_of_another_organisation_is_refused(team: Team, other: Team) -> None:
    """So is an unknown run, and an event without a tenant. Nothing starts."""
    run = team.create()
    for run_id, tenant in ((run.id, other.org_id), (run.id, None), (new_id(), None), (new_id(), team.org_id)):
        said = event(team, JobSubmitted(run_id=run_id), tenant)
        with (
            pytest.raises(FailingEvents, match="is not of this organisation") as failing,
            team.connection.transaction(),
        ):
            handlers.job_submitted(HandlerContext.begin(team.connection), [said])
        assert set(failing.value.reasons) == {said.id}
    assert team.get(run).status == "pending"


def test_a_freed_place_starts_a_waiting_run(team: Team, other: Team) -> None:
    """Of the organisation whose run was paused or has ended."""
    run = team.create()
    paused = RunPaused(run_id=new_id(), reason="user", spent_cents=0, cap_cents=1)
    with team.connection.transaction():
        context = HandlerContext.begin(team.connection)
        assert list(handlers.place_freed(context, [event(team, paused, other.org_id)])) == []
        (requested,) = handlers.place_freed(context, [event(team, paused, team.org_id)])
    assert requested.data.run_id == run.id


def test_each_event_names_the_rows_that_it_locks(team: Team) -> None:
    """Events that start runs lock the organisation's place, results their run and page."""
    run_id, page_id = new_id(), new_id()
    own = {"run_id": run_id, "page_id": page_id, "attempt": 1}
    locked = {
        type(payload): (handlers.place_of(said), handlers.run_of(said), handlers.page_of(said))
        for payload in (
            JobSubmitted(run_id=run_id),
            RunPaused(run_id=run_id, reason="user", spent_cents=0, cap_cents=1),
            PageRequested.model_validate({**own, "category_id": "a", "cursor": "", "cost_cents": 1}),
            PageCompleted.model_validate({**own, "status": "completed"}),
            ItemCompleted(
                run_id=run_id,
                marketplace=MARKETPLACE,
                item_type="amazon_product",
                external_id="A",
                status="completed",
            ),
        )
        for said in [event(team, payload, team.org_id)]
    }
    assert locked == {
        JobSubmitted: (team.org_id, None, None),
        RunPaused: (team.org_id, None, None),
        PageRequested: (None, run_id, page_id),
        PageCompleted: (None, run_id, page_id),
        ItemCompleted: (None, run_id, None),
    }
