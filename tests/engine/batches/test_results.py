"""Requests are fanned out, results are counted once, and a job completes once a generation."""

from __future__ import annotations

from typing import Any

import pytest

import events
from app.context import HandlerContext
from app.engine import batches
from app.engine.batches import handlers, results
from app.engine.batches.results import Result
from app.errors import FailingEvents, NotFound
from app.testing.drain import drain_all
from events import Event, new_id
from tests.helpers.cards import PRINTS, Card, Completed, Office, Submitted
from tests.helpers.support import scalar

COMPLETIONS = "SELECT count(*) FROM engine.event_log WHERE type = 'test/print.completed'"


def said(office: Office, card: Card, *, attempt: int = 0, **fields: Any) -> Event[Completed]:
    """A result of a card as an event: printed, unless the fields say otherwise."""
    named: dict[str, Any] = {"job_id": card.job_id, "item_id": card.id, "status": "success", **fields}
    data = Completed(attempt=attempt, **named)
    return events.new(data, now=office.context.now, subject=data.job_id, tenant=office.workspace_id)


def failed(office: Office, card: Card, *, attempt: int = 0) -> Event[Completed]:
    """A failure of a card as an event."""
    return said(office, card, attempt=attempt, status="error", error_type="unknown", error_message="it broke")


def deliver(office: Office, *completed: Event[Completed]) -> list[Event[Any]]:
    """Apply results in a transaction, as a delivery does; what follows."""
    with office.connection.transaction():
        return list(handlers.item_completed(HandlerContext.begin(office.connection), PRINTS, list(completed)))


def counters(office: Office, job_id: Any) -> tuple[str, int, int]:
    """A job's status and counters."""
    job = office.job(job_id)
    return job.status, job.success_count, job.error_count


# Requests -----------------------------------------------------------------------------------------


def test_a_submitted_job_requests_each_item(office: Office) -> None:
    """Each request has what its item is about and what the job's event says, under the id of the item's attempt."""
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
    for tenant, job_id in ((other.workspace_id, job.id), (None, job.id), (office.workspace_id, new_id())):
        data = Submitted(job_id=job_id, item_count=1, paper="matt")
        event = events.new(data, now=office.context.now, subject=job_id, tenant=tenant)
        with pytest.raises(FailingEvents, match="is not of this workspace"), office.connection.transaction():
            list(handlers.job_submitted(HandlerContext.begin(office.connection), PRINTS, [event]))
    assert office.job(job.id).status == "pending"


# Results ------------------------------------------------------------------------------------------


def test_the_last_result_completes_the_job(office: Office) -> None:
    """The item keeps what its result says, the counters follow, and one event says that the job is done."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    assert deliver(office, said(office, first, print_number="P-1")) == []
    assert counters(office, job.id) == ("pending", 1, 0)
    (done,) = deliver(office, failed(office, second))
    assert (done.type, done.data.success_count, done.data.error_count, done.data.generation) == (
        "test/print.completed",
        1,
        1,
        1,
    )
    assert counters(office, job.id) == ("completed", 1, 1)
    one, two = office.cards(job.id)
    assert (one.status, one.print_number, one.error_type) == ("success", "P-1", None)
    assert (two.status, two.print_number, two.error_type, two.error_message) == ("error", None, "unknown", "it broke")


def test_a_job_without_a_success_has_failed(office: Office) -> None:
    """Not one item is done."""
    job = office.submit("a", "b")
    deliver(office, *(failed(office, card) for card in office.cards(job.id)))
    assert counters(office, job.id) == ("failed", 0, 2)


def test_late_results_change_nothing(office: Office) -> None:
    """A second answer, an answer twice in one list, and one of another attempt: counted as late, and nothing else."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    context = HandlerContext.begin(office.connection)
    with office.connection.transaction():
        applied = results.apply(
            context,
            PRINTS,
            [
                Result(office.workspace_id, one.data, one)
                for one in (said(office, first), failed(office, first), said(office, second, attempt=1))
            ],
        )
    assert (applied.counted, applied.late, applied.follow) == (1, 2, [])
    assert deliver(office, failed(office, first)) == []
    assert counters(office, job.id) == ("pending", 1, 0)
    assert [card.status for card in office.cards(job.id)] == ["success", "pending"]


def test_mismatched_results_are_named(office: Office, other: Office) -> None:
    """Another job's item, another tenant's, one that does not exist: each is named, and nothing is recorded."""
    job, foreign = office.submit("a"), other.submit("x")
    (card,), (theirs,) = office.cards(job.id), other.cards(foreign.id)
    right = said(office, card)
    wrong = [
        said(office, card, job_id=foreign.id),
        said(office, theirs, job_id=foreign.id),
        said(office, card, item_id=new_id()),
    ]
    with pytest.raises(FailingEvents) as caught:
        deliver(office, right, *wrong)
    assert set(caught.value.reasons) == {one.id for one in wrong}
    with pytest.raises(NotFound, match="not of the job that is named, or not of this workspace"):
        results.apply(office.context, PRINTS, [Result(other.workspace_id, right.data)])
    without = events.new(right.data, now=office.context.now, subject=job.id, tenant=None)
    with pytest.raises(FailingEvents, match="tenantid"):
        deliver(office, without)
    assert counters(office, job.id) == ("pending", 0, 0)


def test_events_on_the_queue_are_applied_once(office: Office, other: Office) -> None:
    """Two tenants' jobs, with a card that is refused, delivered by a real worker: exact, and one completion each."""
    mine, theirs = office.submit("a", "nowhere", "b"), other.submit("x", "y")
    drain_all(office.connection)
    assert counters(office, mine.id) == ("completed", 2, 1)
    assert counters(other, theirs.id) == ("completed", 2, 0)
    assert scalar(office.connection, COMPLETIONS) == 2
    assert batches.get_page(office.context, PRINTS, mine.id).errors == {"validation": 1}
