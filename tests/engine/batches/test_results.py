"""Results are counted once, and a job completes once a generation."""

from __future__ import annotations

import pytest

import events
from app.context import HandlerContext
from app.engine import batches
from app.engine.batches import results
from app.engine.batches.results import Result
from app.errors import FailingEvents, NotFound
from app.testing.drain import drain_all
from events import new_id
from tests.helpers.card_events import COMPLETIONS, counters, deliver, failed, said
from tests.helpers.cards import PRINTS, Office
from tests.helpers.support import scalar


def test_the_last_result_completes_the_job(office: Office) -> None:
    """The item has the fields of its result, the counters are exact, and one event completes the job."""
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
    """No item succeeded."""
    job = office.submit("a", "b")
    deliver(office, *(failed(office, card) for card in office.cards(job.id)))
    assert counters(office, job.id) == ("failed", 0, 2)


def test_late_results_change_nothing(office: Office) -> None:
    """A second result, one twice in a list, and one of another attempt: they are only counted as late."""
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
    """For an item of another job or tenant, or one that does not exist. Nothing is recorded."""
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
    """Jobs of two tenants, one with a refused card, delivered by a real worker: exact counters, one completion each."""
    mine, theirs = office.submit("a", "nowhere", "b"), other.submit("x", "y")
    drain_all(office.connection)
    assert counters(office, mine.id) == ("completed", 2, 1)
    assert counters(other, theirs.id) == ("completed", 2, 0)
    assert scalar(office.connection, COMPLETIONS) == 2
    assert batches.get_page(office.context, PRINTS, mine.id).errors == {"validation": 1}
