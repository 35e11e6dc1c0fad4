"""Forecasts of replays: what a plan says that a dead letter of collection would do."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import events
from app.collection import forecasts, runs
from app.collection.settings import set_settings
from app.engine.domain import Forecast
from events import Event, Payload
from events.collection import FoundItem, ItemCompleted, JobSubmitted, PageCompleted, PageRequested
from tests.collection.conftest import MARKETPLACE, Team
from tests.helpers.support import scalar


def event(team: Team, payload: Payload, tenant: UUID | None = None) -> Event[Any]:
    """A dead event of the organisation."""
    return events.new(payload, now=team.context.now, subject=None, tenant=tenant or team.org_id)


def request(run_id: UUID, page_id: UUID, attempt: int = 1) -> PageRequested:
    """The request of a page."""
    wanted = {"category_id": "books", "cursor": "", "cost_cents": 100}
    return PageRequested(run_id=run_id, page_id=page_id, attempt=attempt, **wanted)  # type: ignore[arg-type]


def result(run_id: UUID, page_id: UUID, attempt: int = 1) -> PageCompleted:
    """The result of a page."""
    return PageCompleted(run_id=run_id, page_id=page_id, attempt=attempt, status="completed")


def test_a_submitted_event_starts_the_runs_that_may_start(team: Team, other: Team) -> None:
    """Or nothing, if there is no place or no run waits. An event of another organisation would die again."""
    run = team.create()
    said = event(team, JobSubmitted(run_id=run.id))
    assert forecasts.starts(team.connection, [said]) == {said.id: Forecast(jobs=frozenset({run.id}))}
    foreign = event(team, JobSubmitted(run_id=run.id), other.org_id)
    assert forecasts.starts(team.connection, [foreign])[foreign.id].blocked is not None
    team.apply()
    assert forecasts.starts(team.connection, [said])[said.id].idle == "no run waits for a place"


def test_a_request_buys_its_page_while_the_run_is_running(team: Team, other: Team) -> None:
    """It is blocked while the run is paused, unless the page has begun, and idle after a later attempt."""
    run = team.start()
    page_id: UUID = scalar(team.connection, "SELECT id FROM collection.collection_pages")
    said = event(team, request(run.id, page_id))
    foreign = event(team, request(run.id, page_id), other.org_id)
    unknown = event(team, request(run.id, uuid4()))
    late = event(team, request(run.id, page_id, attempt=0))
    works = Forecast(frozenset({page_id}), frozenset({run.id}))
    found = forecasts.requests(team.connection, [said, foreign, unknown, late])
    assert found[said.id] == works
    assert all(found[one.id].blocked for one in (foreign, unknown))
    assert "overtaken" in str(found[late.id].idle)
    runs.pause_run(team.context, run.id, actor="ana")
    assert f"run {run.id} is paused (user)" in str(forecasts.requests(team.connection, [said])[said.id].blocked)
    runs.resume_run(team.context, run.id, actor="ana")
    team.apply()
    team.begin(run)
    runs.pause_run(team.context, run.id, actor="ana")
    begun = event(team, request(run.id, page_id, attempt=2))
    assert forecasts.requests(team.connection, [begun]) == {begun.id: works}


def test_a_result_settles_its_page_once(team: Team, other: Team) -> None:
    """It is late after the page was settled, and blocked in another organisation."""
    run = team.start()
    (page_id,) = team.begin(run)
    said, foreign = event(team, result(run.id, page_id)), event(team, result(run.id, page_id), other.org_id)
    found = forecasts.results(team.connection, [said, foreign])
    assert found[said.id] == Forecast(frozenset({page_id}), frozenset({run.id}))
    assert found[foreign.id].blocked is not None
    team.settle(run, page_id, 5, next_cursor=None)
    assert "late" in str(forecasts.results(team.connection, [said])[said.id].idle)


def test_a_result_of_an_item_counts_once(team: Team, other: Team) -> None:
    """It is late after the item has a result, and blocked for an item that is not the run's."""
    run = team.start()
    data = {"title": "x"}
    item = FoundItem(marketplace=MARKETPLACE, item_type="amazon_product", external_id="B000000001", data=data)
    team.spend(run, 5, items=[item])
    said = ItemCompleted(run_id=run.id, status="completed", **item.model_dump(exclude={"error_code", "error_message"}))
    known, foreign = event(team, said), event(team, said, other.org_id)
    unknown = event(team, said.model_copy(update={"external_id": "B000000002"}))
    found = forecasts.items(team.connection, [known, foreign, unknown])
    assert "late" in str(found[known.id].idle)
    assert all(found[one.id].blocked for one in (foreign, unknown))
    team.connection.execute("UPDATE collection.collection_items SET status = 'pending', completed_at = NULL")
    assert forecasts.items(team.connection, [known])[known.id].jobs == {run.id}
    assert forecasts.items(team.connection, []) == {}


def test_a_place_that_is_taken_starts_nothing(team: Team) -> None:
    """The run waits with its event replayed or not."""
    set_settings(team.context, actor="ana", max_concurrent_runs=1)
    team.start()
    run = team.start()
    said = event(team, JobSubmitted(run_id=run.id))
    assert forecasts.starts(team.connection, [said])[said.id].idle is not None
