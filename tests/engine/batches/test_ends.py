"""Cancel a job, record a known result, discard a dead request."""

from __future__ import annotations

import pytest

from app.context import HandlerContext
from app.engine import audit_log, batches
from app.engine.batches import ends, rules
from app.engine.dead_letters import manage
from app.errors import Conflict, InvalidInput
from app.testing.drain import drain, drain_all
from tests.engine.batches.test_results import counters, deliver, said
from tests.engine.batches.test_retry import dead
from tests.helpers.cards import PRINTS, Card, Office, PrintShop, Requested
from tests.helpers.support import scalar

LIVE = """
WITH doing AS (UPDATE public.procrastinate_jobs SET status = 'doing' RETURNING id)
INSERT INTO engine.calls (call_key, event_id, row_id, attempts)
SELECT %s, gen_random_uuid(), id, 0 FROM doing
"""


def under_way(office: Office, card: Card) -> None:
    """Let a delivery be in the call for a card."""
    office.connection.execute(LIVE, [rules.request_id(Requested, card.id, card.retry_count)])


# Cancel -------------------------------------------------------------------------------------------


def test_a_cancelled_job_fails_what_has_not_begun(office: Office, shop: PrintShop) -> None:
    """No further call is made; the job completes with what it has, and the audit log says who and why."""
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


def test_what_has_begun_is_looked_at_before_its_call(office: Office, shop: PrintShop) -> None:
    """An item that was claimed before the cancel fails when its effect looks; in the other order it gets its result."""
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
    """Nor one without a reason."""
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


# Record -------------------------------------------------------------------------------------------


def test_a_recorded_result_counts(office: Office, shop: PrintShop) -> None:
    """As an effect's does: the job completes, the request finds nothing to do, the audit log keeps it."""
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


def test_a_result_that_cannot_be_one_is_refused(office: Office) -> None:
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


def test_nothing_is_recorded_while_the_call_is_under_way(office: Office) -> None:
    """Its own result counts; the same for a dead request that is discarded."""
    (card,) = office.cards(office.submit("a").id)
    under_way(office, card)
    result = {"status": "success", "print_number": "P-9"}
    with pytest.raises(Conflict, match="calls are in progress"):
        batches.record_item(office.context, PRINTS, card.id, result, actor="ann", reason="saw it")
    with pytest.raises(Conflict, match="calls are in progress"), office.connection.transaction():
        list(ends.discard(HandlerContext.begin(office.connection), PRINTS, [dead(office, card)], "lost"))
    assert counters(office, card.job_id) == ("pending", 0, 0)


# Discard ------------------------------------------------------------------------------------------


def test_a_discarded_request_ends_its_item(office: Office, other: Office) -> None:
    """An error with the reason; a request that its item does not wait for ends nothing."""
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
    """The engine's `dead discard` ends the item; a letter whose item waits is not resolved without a result."""
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
    """Their items end, and no letter is left to be replayed; a dry run only says so."""
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
