"""Dead requests of pages: which pages wait for them, and what a discard and a cancellation do to pages and books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.collection import accounts, dead_pages, pages, runs
from app.collection.fixtures.collector import MARKETPLACE
from app.collection.runs import Run
from app.context import HandlerContext
from app.engine import audit_log
from app.engine.dead_letters import letters, manage
from app.engine.dead_letters.as_done import resolve_as_done
from app.errors import Conflict
from app.settings import using
from app.simulators.marketplace import Category, Rule
from app.simulators.marketplace.behaviour import Outcome
from app.testing.drain import drain_all
from events import Event
from events.collection import PageRequested
from tests.helpers.collecting import Desk


@pytest.fixture
def run(desk: Desk) -> Run:
    """A running run whose first page is reserved."""
    desk.sells(a=Category(price_cents=5))
    run = desk.start("a")
    desk.begin(run)
    return run


def requested(desk: Desk, run: Run, **values: Any) -> Event[PageRequested]:
    """Return a request of the first page. `values`: other fields."""
    page_id = desk.page(run.id, "a")["id"]
    event = pages.request(pages.find(desk.connection, [page_id])[page_id], desk.context.now)
    return event.model_copy(update={"data": event.data.model_copy(update=values)})


def test_an_open_page_waits_for_its_attempt(desk: Desk, run: Run) -> None:
    """Not for the request of another attempt, run or organisation."""
    event = requested(desk, run)
    assert dead_pages.open_pages(desk.connection, [event]) == {event.id: event.data.page_id}
    others = [
        requested(desk, run, attempt=9),
        requested(desk, run, run_id=desk.org_id),
        event.model_copy(update={"tenantid": run.id}),
    ]
    assert dead_pages.open_pages(desk.connection, others) == {}


def test_a_page_that_was_never_called_fails_with_its_request(desk: Desk) -> None:
    """At once, and no result is awaited. A request of another attempt changes nothing."""
    desk.sells(a=Category(price_cents=5))
    run = desk.start("a")
    with desk.connection.transaction():
        context = HandlerContext.begin(desk.connection)
        assert dead_pages.discard(context, [requested(desk, run, attempt=9)], "of no use") == []
        dead_pages.discard(context, [requested(desk, run)], "of no use")
    page = desk.page(run.id, "a")
    assert (page["status"], page["error_code"], page["error_message"]) == ("failed", "discarded", "of no use")
    assert dead_pages.open_pages(desk.connection, [requested(desk, run)]) == {}


def test_a_page_that_may_be_charged_waits_for_the_answer(desk: Desk, run: Run) -> None:
    """Its price stays reserved, and its request is published once more, to ask."""
    event = requested(desk, run)
    with desk.connection.transaction():
        assert dead_pages.discard(HandlerContext.begin(desk.connection), [event], "of no use") == [event]
    page = desk.page(run.id, "a")
    assert (page["status"], page["discard_reason"]) == ("processing", "of no use")
    assert desk.books(run.id) == (0, 5, 0)


def test_a_page_whose_call_is_in_progress_is_not_discarded(
    desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is unchanged."""
    event = requested(desk, run)
    monkeypatch.setattr(dead_pages, "live", lambda _connection, keys: set(keys))
    with pytest.raises(Conflict, match="calls of 1 of them are in progress"), desk.connection.transaction():
        dead_pages.discard(HandlerContext.begin(desk.connection), [event], "of no use")
    assert desk.page(run.id, "a")["status"] == "processing"


# A call was made, its answer was lost, and nobody could be asked: the request is a dead letter ------


def discard(desk: Desk, _run: Run) -> None:
    """Discard every dead letter."""
    manage.discard(desk.connection, [letter.id for letter in open_letters(desk)], note="of no use", actor="ana")


def cancel(desk: Desk, run: Run) -> None:
    """Cancel the run."""
    runs.cancel_run(desk.context, run.id, actor="ana")


def open_letters(desk: Desk) -> list[letters.DeadLetter]:
    """Return the dead letters that are not resolved."""
    return letters.select(desk.connection, letters.Filters())


@pytest.fixture
def dead(desk: Desk) -> Run:
    """A run with a cap of 8 cents, whose only page was called, and whose request died."""
    desk.sells(a=Category(pages=1, items=2, price_cents=5))
    return desk.submit("a", cap_cents=8)


def die(desk: Desk, then: Outcome, *, calls: int = 1, cents: int | None = None) -> None:
    """Let the calls end so, and the account be disabled before the marketplace is asked."""
    desk.market.change(rules=[Rule(then=then, times=calls, cents=cents).model_dump()])
    with using(retry_base=300.0):  # or the marketplace could be asked before the account is disabled
        desk.work()
    accounts.disable_account(desk.context, MARKETPLACE)
    drain_all(desk.connection)
    assert len(open_letters(desk)) == calls


@pytest.mark.parametrize(("give_up", "status"), [(discard, "completed"), (cancel, "cancelled")])
@pytest.mark.parametrize(("cents", "books"), [(5, (5, 0, 0)), (9, (8, 0, 1))])
def test_a_charge_is_booked_when_its_request_is_given_up(
    desk: Desk, dead: Run, give_up: Callable[[Desk, Run], None], status: str, cents: int, books: tuple[int, int, int]
) -> None:
    """Up to the cap, the rest as overrun. What was paid for is used, and nothing is bought."""
    die(desk, "lost", cents=cents)
    assert (desk.charged, desk.books(dead.id)) == (cents, (0, 5, 0))
    accounts.enable_account(desk.context, MARKETPLACE)
    give_up(desk, dead)
    assert open_letters(desk) == []
    drain_all(desk.connection)
    assert (desk.books(dead.id), len(desk.market.ledger.charges)) == (books, 1)
    assert (desk.page(dead.id, "a")["status"], len(desk.items(dead.id))) == ("completed", 2)
    assert desk.run(dead.id).status == ("paused" if books[2] and give_up is discard else status)
    assert open_letters(desk) == []


@pytest.mark.parametrize(("give_up", "page"), [(discard, "failed"), (cancel, "cancelled")])
def test_a_page_that_was_not_charged_is_not_bought_when_its_request_is_given_up(
    desk: Desk, dead: Run, give_up: Callable[[Desk, Run], None], page: str
) -> None:
    """The marketplace is asked once, and the reservation is released."""
    die(desk, "cut")
    accounts.enable_account(desk.context, MARKETPLACE)
    give_up(desk, dead)
    drain_all(desk.connection)
    assert (desk.charged, desk.books(dead.id), desk.market.ledger.questions) == (0, (0, 0, 0), 1)
    assert desk.page(dead.id, "a")["status"] == page


def test_a_page_that_cannot_be_asked_about_dies_again(desk: Desk, dead: Run) -> None:
    """The price stays reserved, until a person records the bill."""
    die(desk, "lost")
    discard(desk, dead)
    drain_all(desk.connection)
    (letter,) = open_letters(desk)
    assert desk.books(dead.id) == (0, 5, 0)
    bill = {"status": "failed", "error_code": "lost", "cost_cents": 5}
    resolve_as_done(desk.connection, letter.id, bill, note="as the invoice says", actor="ana")
    desk.work()
    assert (desk.books(dead.id), desk.run(dead.id).status) == ((5, 0, 0), "completed")


def test_a_cancellation_resolves_the_dead_requests_of_its_run_alone(desk: Desk, dead: Run) -> None:
    """With a note of who and why. The letters of other runs stay."""
    other = desk.submit("a")
    die(desk, "lost", calls=2)
    assert {one.event_data["subject"] for one in open_letters(desk)} == {str(dead.id), str(other.id)}
    runs.cancel_run(desk.context, dead.id, actor="ana", reason="too dear")
    (left,) = open_letters(desk)
    assert left.event_data["subject"] == str(other.id)
    (closed,) = letters.select(desk.connection, letters.Filters(resolved=True))
    assert closed.notes == "run cancelled by ana: too dear"
    assert [one.action for one in audit_log.history(desk.connection, closed.id)] == ["cancel run"]
