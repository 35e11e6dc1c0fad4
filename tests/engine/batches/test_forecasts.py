"""Forecasts for replay plans: the outcome of replaying each dead event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import events
from app.engine import batches
from app.engine.batches import forecasts
from app.engine.batches.tables import Batch
from app.engine.domain import Forecast
from events import Event, new_id
from tests.helpers.card_events import dead, deliver, failed, said
from tests.helpers.cards import PRINTS, Card, Office, Print, Submitted


def submitted(office: Office, job: Print, **fields: Any) -> Event[Submitted]:
    """Return the submitted event of a job, as a dead letter contains it."""
    data = Submitted(job_id=job.id, item_count=2, paper="matt", **fields)
    return events.new(data, now=office.context.now, subject=job.id, tenant=office.workspace_id)


def of_requests(office: Office, *requested: Event[Any], batch: Batch[Print, Card] = PRINTS) -> list[Forecast]:
    """Return the forecasts of requests, in their order."""
    found = forecasts.requests(office.connection, batch, requested)
    return [found[event.id] for event in requested]


def test_a_request_changes_its_item_and_its_job(office: Office) -> None:
    """Unless its item has a result or a later attempt, or is gone."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, said(office, first))
    will, done, later, gone = of_requests(
        office,
        dead(office, second),
        dead(office, first),
        dead(office, second, attempt=1),
        dead(office, replace(second, id=new_id())),
    )
    assert will == Forecast(frozenset({second.id}), frozenset({job.id}))
    assert {(one.idle or "").partition(":")[0] for one in (done, later, gone)} == {"overtaken"}


def test_requests_with_obstacles_are_blocked(office: Office) -> None:
    """If they would be revived. A cancelled job is no obstacle, because it must complete."""
    (card,) = office.cards(office.submit("a").id)
    request = dead(office, card)
    strike = replace(PRINTS, obstacles=lambda _connection, requested: {one.id: "a strike" for one in requested})
    assert of_requests(office, request, batch=strike) == [Forecast(blocked="a strike")]
    office.connection.execute("UPDATE cards.cards SET status = 'processing', started_at = now()")
    batches.cancel(office.context, PRINTS, card.job_id, actor="ann", reason="no")
    assert of_requests(office, request) == [Forecast(frozenset({card.id}), frozenset({card.job_id}))]


def test_a_result_counts_is_late_or_dies_again(office: Office, other: Office) -> None:
    """Its item is open at that attempt, has ended, or is of another job or tenant."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, failed(office, first))
    results = [said(office, second), said(office, first), said(office, second, attempt=1), said(other, second)]
    found = forecasts.results(office.connection, PRINTS, results)
    will, ended, early, foreign = (found[event.id] for event in results)
    assert will == Forecast(frozenset({second.id}), frozenset({job.id}))
    assert {(one.idle or "").partition(":")[0] for one in (ended, early)} == {"late"}
    assert foreign.blocked == "the item is not of that job of this workspace: it would die again"


def test_a_submission_requests_pending_items(office: Office, other: Office) -> None:
    """All, or those that it names. None of another tenant's job."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, said(office, first))
    asked = [submitted(office, job), submitted(office, job, attempt_items=(first.id,)), submitted(other, job)]
    found = forecasts.submissions(office.connection, PRINTS, asked)
    assert [found[event.id] for event in asked] == [
        Forecast(frozenset({second.id})),
        Forecast(idle="no item of the job waits"),
        Forecast(idle="no item of the job waits"),
    ]


def test_a_forecast_changes_nothing(office: Office) -> None:
    """Job and items are as before."""
    job = office.submit("a")
    before = (office.job(job.id), office.cards(job.id))
    of_requests(office, dead(office, before[1][0]))
    forecasts.submissions(office.connection, PRINTS, [submitted(office, job)])
    assert batches.get_page(office.context, PRINTS, job.id).items == before[1]
    assert office.job(job.id) == before[0]
