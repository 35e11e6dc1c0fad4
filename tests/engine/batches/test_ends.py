"""Cancel a job, record a known result, discard a dead request."""

from __future__ import annotations

import pytest

from app.context import HandlerContext
from app.engine import audit_log, batches
from app.engine.batches import ends
from app.engine.dead_letters import manage
from app.errors import Conflict, InvalidInput
from app.testing.drain import drain, drain_all
from tests.helpers.card_events import counters, dead, deliver, said, under_way
from tests.helpers.cards import PRINTS, Office, PrintShop
from tests.helpers.support import scalar


def test_a_cancelled_job_fails_items_that_have_not_begun(office: Office, shop: PrintShop) -> None:
    """No further call is made, the job completes, and the audit log has actor and reason."""
    job = office.submit("a", "b")
    first, _ = office.cards(job.id)
    deliver(office, said(office, first))
    done = batches.cancel(office.context, PRINTS, job.id, actor="ann", reason="wrong text")
    assert (done.failed, done.in_hand, done.job.status, done.job.cancelled_by) == (1, 0, "completed", "ann")
    drain_all(office.connection)
    assert shop.printed == {}
    _, card = office.cards(job.id)
    assert (card.error_type, card.error_message) == ("validation", "cancelled by ann: wrong text")
    (action,) = audit_log.history(office.connection, subject=str(job.id))
    assert (action.actor, action.action, action.reason) == ("ann", "cancel job", "wrong text")


def test_a_claimed_item_is_rechecked_before_its_call(office: Office, shop: PrintShop) -> None:
    """After a cancel it fails; if the call came first, it gets its result."""
    job = office.submit("a")
    drain(queues=["events"])
    office.connection.execute("UPDATE cards.cards SET status = 'processing', started_at = now()")
    done = batches.cancel(office.context, PRINTS, job.id, actor="ann", reason="wrong text")
    assert (done.failed, done.in_hand) == (0, 1)
    assert batches.cancel(office.context, PRINTS, job.id, actor="bob", reason="again").job.cancelled_by == "ann"
    drain_all(office.connection)
    assert shop.printed == {}
    assert counters(office, job.id) == ("failed", 0, 1)


def test_a_job_that_is_done_cannot_be_cancelled(office: Office) -> None:
    """A cancel needs a reason, too."""
    job = office.submit("a")
    with pytest.raises(InvalidInput, match="reason"):
        batches.cancel(office.context, PRINTS, job.id, actor="ann", reason=" ")
    drain_all(office.connection)
    with pytest.raises(Conflict, match="is completed: there is nothing to cancel"):
        batches.cancel(office.context, PRINTS, job.id, actor="ann", reason="late")


def test_a_retry_of_a_cancelled_job_prints_it(office: Office, shop: PrintShop) -> None:
    """The next generation is not cancelled."""
    job = office.submit("a")
    batches.cancel(office.context, PRINTS, job.id, actor="ann", reason="wrong text")
    batches.retry_failed(office.context, PRINTS, job.id)
    drain_all(office.connection)
    assert counters(office, job.id) == ("completed", 1, 0)
    assert shop.times == {"a": 1}


def test_a_recorded_result_counts(office: Office, shop: PrintShop) -> None:
    """Like an effect's result: the job completes, and the request needs no call."""
    job = office.submit("a")
    (card,) = office.cards(job.id)
    result = {"status": "success", "print_number": "P-9"}
    done = batches.record_item(office.context, PRINTS, card.id, result, actor="ann", reason="saw it")
    assert (done.status, done.success_count) == ("completed", 1)
    drain_all(office.connection)
    assert shop.printed == {}
    assert office.cards(job.id)[0].print_number == "P-9"
    (action,) = audit_log.history(office.connection, subject=str(card.id))
    assert (action.action, action.details) == ("record item", result)
    with pytest.raises(Conflict, match="has a result already; `prints retry`"):
        batches.record_item(office.context, PRINTS, card.id, result, actor="ann", reason="saw it")


def test_a_bad_result_is_refused(office: Office) -> None:
    """The message names the field, and nothing is recorded."""
    (card,) = office.cards(office.submit("a").id)
    for result, message in (
        ({"status": "done"}, "result: status"),
        ({"status": "error"}, "an error has an error_type"),
        ({"status": "success", "colour": "red"}, "result: colour"),
    ):
        with pytest.raises(InvalidInput, match=message):
            batches.record_item(office.context, PRINTS, card.id, result, actor="ann", reason="saw it")
    assert counters(office, card.job_id) == ("pending", 0, 0)


def test_nothing_is_recorded_while_the_call_is_in_progress(office: Office) -> None:
    """Its own result counts. The same holds for discarding its dead request."""
    (card,) = office.cards(office.submit("a").id)
    under_way(office, card)
    result = {"status": "success", "print_number": "P-9"}
    with pytest.raises(Conflict, match="calls are in progress"):
        batches.record_item(office.context, PRINTS, card.id, result, actor="ann", reason="saw it")
    with pytest.raises(Conflict, match="calls are in progress"), office.connection.transaction():
        list(ends.discard(HandlerContext.begin(office.connection), PRINTS, [dead(office, card)], "lost"))
    assert counters(office, card.job_id) == ("pending", 0, 0)


def test_a_discarded_request_ends_its_item(office: Office, other: Office) -> None:
    """With an error and the reason. An obsolete request ends none."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    with office.connection.transaction():
        requested = [dead(office, first), dead(office, second, attempt=1), dead(other, second)]
        assert list(ends.discard(HandlerContext.begin(office.connection), PRINTS, requested, "not worth it")) == []
    assert [(card.status, card.error_message) for card in office.cards(job.id)] == [
        ("error", "not worth it"),
        ("pending", None),
    ]


def test_a_dead_letter_is_discarded_with_its_item(office: Office, shop: PrintShop) -> None:
    """`dead discard` ends the item. A letter whose item waits cannot be resolved without a result."""
    shop.is_jammed = True
    job = office.submit("a")
    drain_all(office.connection)
    letter = scalar(office.connection, "SELECT id FROM engine.failed_jobs")
    with pytest.raises(Conflict):
        manage.resolve(office.connection, [letter], note="done", actor="ann")
    manage.discard(office.connection, [letter], note="not worth it", actor="ann")
    drain_all(office.connection)
    assert counters(office, job.id) == ("failed", 0, 1)
    assert office.cards(job.id)[0].error_message == "discarded by ann: not worth it"


def test_a_cancel_or_a_recorded_result_resolves_dead_requests(office: Office, shop: PrintShop) -> None:
    """No letter is left to be replayed. A dry run changes nothing."""
    shop.is_jammed = True
    job = office.submit("a", "b", "c")
    drain_all(office.connection)
    first, _, _ = office.cards(job.id)
    done = {"status": "success", "print_number": "P-9"}
    batches.record_item(office.context, PRINTS, first.id, done, actor="ann", reason="saw it")
    open_ = "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL"
    assert scalar(office.connection, open_) == 2
    would = batches.cancel(office.context, PRINTS, job.id, actor="ann", reason="no", dry_run=True)
    assert (would.failed, would.letters, would.job.cancelled_by) == (2, 2, None)
    did = batches.cancel(office.context, PRINTS, job.id, actor="ann", reason="no")
    assert (did.failed, did.in_hand, did.letters) == (2, 0, 2)
    assert scalar(office.connection, open_) == 0
    assert counters(office, job.id) == ("completed", 1, 2)
