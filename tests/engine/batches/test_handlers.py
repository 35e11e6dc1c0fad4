"""Handlers of a batch's events: request a submitted job's items, record results."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

import events
from app import database as doors
from app.context import HandlerContext
from app.engine.batches import handlers
from app.errors import FailingEvents
from events import Event, new_id
from tests.conftest import Database
from tests.helpers.card_events import dead, deliver, said
from tests.helpers.cards import PRINTS, Office, PrintCompleted, Submitted


def test_a_submitted_job_requests_each_item(office: Office) -> None:
    """Each request has the item's work and the fields of the job's event. Its id is that of the item's attempt."""
    job = office.submit("a", "b", paper="glossy")
    event = events.new(
        Submitted(job_id=job.id, item_count=2, paper="glossy"),
        now=office.context.now,
        subject=job.id,
        tenant=office.workspace_id,
    )
    with office.connection.transaction(force_rollback=True):
        context = HandlerContext.begin(office.connection)
        requested = list(handlers.job_submitted(context, PRINTS, [event]))
        again = list(handlers.job_submitted(context, PRINTS, [event]))
        assert office.job(job.id).status == "processing"
    assert [(one.data.address, one.data.paper, one.data.attempt) for one in requested] == [
        ("a", "glossy", 0),
        ("b", "glossy", 0),
    ]
    assert [one.id for one in again] == [one.id for one in requested]
    assert {one.subject for one in requested} == {job.id}


def test_a_job_of_another_tenant_is_not_begun(office: Office, other: Office) -> None:
    """Nor one without a tenant, or one that does not exist."""
    job = office.submit("a")
    for tenant, job_id in (
        (other.workspace_id, job.id),
        (None, job.id),
        (None, new_id()),
        (office.workspace_id, new_id()),
    ):
        data = Submitted(job_id=job_id, item_count=1, paper="matt")
        event = events.new(data, now=office.context.now, subject=job_id, tenant=tenant)
        with pytest.raises(FailingEvents, match="is not of this workspace"), office.connection.transaction():
            list(handlers.job_submitted(HandlerContext.begin(office.connection), PRINTS, [event]))
    assert office.job(job.id).status == "pending"


def submitted(office: Office, job_id: UUID, **fields: Any) -> Event[Submitted]:
    """Return the event of a submitted job."""
    data = Submitted(job_id=job_id, item_count=1, paper="matt", **fields)
    return events.new(data, now=office.context.now, subject=job_id, tenant=office.workspace_id)


def test_only_pending_items_are_requested(office: Office) -> None:
    """Of those that the event names, or of all. A job that runs already stays as it is."""
    job = office.submit("a", "b", "c")
    first, second, third = office.cards(job.id)
    deliver(office, said(office, first))
    with office.connection.transaction(force_rollback=True):
        context = HandlerContext.begin(office.connection)
        rest = list(handlers.job_submitted(context, PRINTS, [submitted(office, job.id)]))
        named = submitted(office, job.id, attempt_items=[first.id, third.id])
        some = list(handlers.job_submitted(context, PRINTS, [named]))
    assert [event.data.item_id for event in rest] == [second.id, third.id]
    assert [event.data.item_id for event in some] == [third.id]


def test_a_result_needs_a_tenant(office: Office) -> None:
    """Each result without one is a failing event; the others are not recorded by this transaction either."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    without = said(office, first).model_copy(update={"tenantid": None})
    with pytest.raises(FailingEvents) as caught:
        deliver(office, without, said(office, second))
    assert set(caught.value.reasons) == {without.id}
    assert [card.status for card in office.cards(job.id)] == ["pending", "pending"]


def test_events_name_the_rows_that_their_handlers_lock(office: Office) -> None:
    """Jobs for submissions and results, items for results and requests. A completed job locks nothing."""
    job = office.submit("a")
    (card,) = office.cards(job.id)
    done = PrintCompleted(job_id=job.id, success_count=1, error_count=0, generation=1)
    completed = events.new(done, now=office.context.now, subject=job.id, tenant=office.workspace_id)
    asked, result = dead(office, card), said(office, card)
    found = [
        (handlers.job_of(PRINTS, event), handlers.item_of(PRINTS, event))
        for event in (submitted(office, job.id), asked, result, completed)
    ]
    assert found == [(job.id, None), (None, card.id), (job.id, card.id), (None, None)]
    assert list(handlers.ignore(HandlerContext.begin(office.connection), [completed])) == []


def test_jobs_of_several_types_are_locked_together(database: Database, office: Office) -> None:
    """Until the transaction ends. Requests lock none."""
    one, two, three = (office.submit("a") for _ in range(3))
    events_ = [
        submitted(office, one.id),
        said(office, office.cards(two.id)[0]),
        dead(office, office.cards(three.id)[0]),
    ]
    free = "SELECT id FROM cards.prints ORDER BY id FOR UPDATE SKIP LOCKED"
    with doors.connect(database.url, autocommit=True) as session:
        with office.connection.transaction():
            handlers.lock_jobs(office.connection, PRINTS, events_)
            assert session.execute(free).fetchall() == [(three.id,)]
        assert len(session.execute(free).fetchall()) == 3
