"""Buying pages: each is charged once, whatever happens between its reservation and its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from app.collection import accounts, effects, market, runs
from app.collection.fixtures.collector import API_KEY, MARKETPLACE
from app.collection.settings import set_settings
from app.context import HandlerContext
from app.engine.dead_letters import manage
from app.engine.domain import Call, Prepared
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import publish
from app.errors import Permanent, Transient
from app.settings import settings
from app.simulators.marketplace import Behaviour, Category, Rule
from app.simulators.marketplace.behaviour import Outcome
from app.testing.drain import drain_all
from app.testing.published import assert_published
from events import Event
from events.collection import BudgetWarned, JobCompleted, PageCompleted, PageRequested, RunPaused
from tests.helpers.collecting import Desk
from tests.helpers.support import scalar

_REQUESTS = "SELECT row_id, args::text FROM engine.waiting() WHERE queue_name = 'marketplaces' ORDER BY row_id"
ONE_PAGE = Category(pages=1, items=2, price_cents=5)


@dataclass
class Worker:
    """A worker that stops wherever a test wants it to: between claim, call and settling."""

    desk: Desk
    prepared: list[Prepared] = field(default_factory=list)

    def claim(self) -> list[Event[Any]]:
        """Take all requests out of the queue, and prepare their calls. Returns the requests."""
        rows = [Row(*row) for row in self.desk.connection.execute(_REQUESTS).fetchall()]
        requested = [queued.event for queued in open_rows(rows) if isinstance(queued.event, Event)]
        self.desk.connection.execute("DELETE FROM public.procrastinate_jobs WHERE queue_name = 'marketplaces'")
        self.prepare(requested)
        return requested

    def prepare(self, requested: list[Event[Any]]) -> None:
        """Prepare the calls of some requests."""
        connection = self.desk.connection
        with connection.transaction():
            self.prepared = list(effects.prepare(HandlerContext.begin(connection), requested))

    def call(self, *, attempt: int = 0, in_doubt: bool = False, is_last: bool = False) -> list[PageCompleted]:
        """Make the calls of what was prepared. Returns the results."""

        async def call(one: Prepared) -> PageCompleted:
            async def still_mine() -> market.Now | None:
                return market.recheck(self.desk.connection, [one]).get(one.event.id)

            try:
                return await effects.buy_page(one, Call(in_doubt, attempt, is_last, still_mine))
            finally:
                await market.close()

        return [asyncio.run(call(one)) for one in self.prepared]

    def settle(self, results: list[PageCompleted]) -> None:
        """Publish results and deliver them."""
        publish(self.desk.connection, *(self.desk.event(result) for result in results))
        self.desk.handle()


@pytest.fixture
def worker(desk: Desk) -> Worker:
    """A worker in a shop of one kind of page."""
    desk.sells(books=ONE_PAGE, toys=ONE_PAGE)
    return Worker(desk)


def rules(desk: Desk, then: Outcome, **values: Any) -> None:
    """Let the marketplace do this with all pages."""
    desk.market.change(rules=[Rule(then=then, **values).model_dump()])


# The whole way ------------------------------------------------------------------------------------


def test_a_run_buys_every_page_once(desk: Desk) -> None:
    """The marketplace's ledger equals the books, every item has its part, and the end is said once."""
    desk.sells(books=Category(pages=4, items=3, price_cents=7), toys=Category(pages=2, items=5, price_cents=3))
    run = desk.submit("books", "toys")
    desk.work()
    run = desk.run(run.id)
    assert (run.status, run.total_items, run.processed_items, run.failed_items) == ("completed", 22, 22, 0)
    assert desk.books(run.id) == (34, 0, 0) == (desk.charged, 0, 0)
    assert desk.market.ledger.duplicates == []
    assert desk.market.ledger.bought_again == 0
    assert run.checkpoint["books"] == {"pages": 4, "cursor": None, "done": True}
    assert_published(desk.connection, JobCompleted, count=1, run_id=run.id, actual_cost_cents=34, total_items=22)


def test_bills_that_differ_are_booked_as_they_are(desk: Desk) -> None:
    """Lower and higher than reserved: to the cent."""
    desk.sells(books=Category(pages=8, items=1, price_cents=10), toys=Category(pages=8, items=1, price_cents=10))
    desk.market.change(bill_percent=(50, 200))
    run = desk.submit("books", "toys")
    desk.work()
    assert desk.run(run.id).status == "completed"
    assert desk.books(run.id) == (desk.charged, 0, 0)


# The cap ------------------------------------------------------------------------------------------


def test_a_page_that_does_not_fit_pauses_the_run(desk: Desk) -> None:
    """It waits, nothing is lost, and the run completes with more money: every page is bought once."""
    desk.sells(books=Category(pages=5, items=2, price_cents=5))
    run = desk.submit("books", cap_cents=12)
    desk.work()
    run = desk.run(run.id)
    assert (run.status, run.pause_reason, desk.charged) == ("paused", "budget", 10)
    assert [page["status"] for page in desk.pages(run.id)] == ["completed", "completed", "pending"]
    assert_published(desk.connection, RunPaused, count=1, reason="budget", spent_cents=10, cap_cents=12)
    desk.connection.execute("UPDATE collection.collection_runs SET budget_cap_cents = 25, cap_override_cents = 25")
    runs.resume_run(desk.context, run.id, actor="test")
    desk.work()
    assert desk.run(run.id).status == "completed"
    assert desk.books(run.id) == (25, 0, 0) == (desk.charged, 0, 0)
    assert desk.run(run.id).total_items == 10


def test_pages_that_fit_are_bought_though_another_one_does_not(desk: Desk) -> None:
    """A claim of several pages spends the cap to its end."""
    names = "abcd"
    desk.sells(**dict.fromkeys(names, ONE_PAGE))
    run = desk.submit(*names, cap_cents=15)
    desk.work()
    assert (desk.run(run.id).pause_reason, desk.books(run.id), desk.charged) == ("budget", (15, 0, 0), 15)


def test_the_warning_is_said_once(desk: Desk) -> None:
    """In the commit that crosses the line."""
    desk.sells(books=Category(pages=10, items=1, price_cents=1))
    run = desk.submit("books", cap_cents=10)
    desk.work()
    assert_published(desk.connection, BudgetWarned, count=1, run_id=run.id, spent_cents=8, cap_cents=10)
    assert desk.run(run.id).warned_at is not None


def test_an_overrun_pauses_the_run(desk: Desk) -> None:
    """What fits is booked, the rest is shown, and no further page is bought."""
    desk.sells(books=Category(pages=3, items=1, price_cents=5))
    desk.market.change(bill_percent=(300, 300))
    run = desk.submit("books", cap_cents=20)
    desk.work()
    run = desk.run(run.id)
    assert (run.status, run.pause_reason, desk.books(run.id)) == ("paused", "overrun", (20, 0, 10))
    assert desk.charged == 30
    assert_published(desk.connection, RunPaused, count=1, reason="overrun")
    assert desk.page(run.id, "books", 3)["status"] == "pending"


# Between prepare and call -------------------------------------------------------------------------


STOPS: dict[str, tuple[Callable[[Desk, UUID], object], str]] = {
    "paused": (lambda desk, run: runs.pause_run(desk.context, run, actor="test"), "pending"),
    "cancelled": (lambda desk, run: runs.cancel_run(desk.context, run, actor="test"), "cancelled"),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_page_of_a_stopped_run_is_not_bought(worker: Worker, stop: str) -> None:
    """Its reservation is released, and it waits for the run, or is cancelled with it."""
    desk, (do, status) = worker.desk, STOPS[stop]
    run = desk.submit("books")
    worker.claim()
    assert desk.books(run.id) == (0, 5, 0)
    do(desk, run.id)
    results = worker.call()
    assert [result.status for result in results] == ["released"]
    worker.settle(results)
    assert (desk.charged, desk.books(run.id)) == (0, (0, 0, 0))
    assert desk.page(run.id, "books")["status"] == status


def test_a_page_that_was_released_is_requested_once(worker: Worker) -> None:
    """The run is resumed while the result is under way: only the result requests the page anew."""
    desk = worker.desk
    run = desk.submit("books")
    worker.claim()
    runs.pause_run(desk.context, run.id, actor="test")
    results = worker.call()
    runs.resume_run(desk.context, run.id, actor="test")
    desk.handle()
    assert_published(desk.connection, PageRequested, count=0)
    worker.settle(results)
    (requested,) = assert_published(desk.connection, PageRequested, count=1)
    assert requested.data.attempt == desk.page(run.id, "books")["attempt"]
    desk.work()
    assert (desk.run(run.id).status, desk.charged, desk.books(run.id)) == ("completed", 5, (5, 0, 0))


def test_a_request_of_an_earlier_attempt_buys_nothing(worker: Worker) -> None:
    """The run was paused and resumed before the request was delivered: the newer request counts."""
    desk = worker.desk
    run = desk.submit("books")
    requested = worker.claim()
    runs.pause_run(desk.context, run.id, actor="test")
    worker.settle(worker.call())
    runs.resume_run(desk.context, run.id, actor="test")
    desk.handle()
    worker.prepare(requested)
    assert worker.prepared == []
    desk.work()
    assert (desk.run(run.id).status, desk.charged) == ("completed", 5)


def test_a_request_of_a_paused_run_buys_nothing(worker: Worker) -> None:
    """It is delivered after the pause: nothing is reserved, and the page waits."""
    desk = worker.desk
    run = desk.submit("books")
    runs.pause_run(desk.context, run.id, actor="test")
    desk.work()
    assert (desk.charged, desk.books(run.id)) == (0, (0, 0, 0))
    assert desk.page(run.id, "books")["status"] == "pending"


def test_a_cap_below_the_reservations_keeps_pages_from_being_bought(worker: Worker) -> None:
    """Two pages are reserved when the organisation's cap falls to one page's price: none is called any more."""
    desk = worker.desk
    run = desk.submit("books", "toys")
    worker.claim()
    set_settings(desk.context, actor="test", budget_cap_cents=5)
    worker.settle(worker.call())
    desk.work()
    assert (desk.charged, desk.books(run.id)) == (5, (5, 0, 0))
    assert (desk.run(run.id).pause_reason, desk.run(run.id).budget_cap_cents) == ("budget", 5)


# Between call and settling ------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["running", "paused", "cancelled"])
def test_a_charged_page_is_used_after_a_crash(worker: Worker, state: str) -> None:
    """The worker died after the marketplace charged: the next delivery asks, in every state of the run."""
    desk = worker.desk
    run = desk.submit("books")
    requested = worker.claim()
    worker.call()  # its result is lost
    if state in STOPS:
        STOPS[state][0](desk, run.id)
    worker.prepare(requested)
    results = worker.call(in_doubt=True)
    assert [result.status for result in results] == ["completed"]
    worker.settle(results)
    assert (desk.charged, len(desk.market.ledger.charges)) == (5, 1)
    assert desk.books(run.id) == (5, 0, 0)
    assert desk.run(run.id).status == {"running": "completed"}.get(state, state)
    assert len(desk.items(run.id)) == 2


@pytest.mark.parametrize(("state", "charged", "page"), [("running", 5, "completed"), ("paused", 0, "pending"),
                                                        ("cancelled", 0, "cancelled")])  # fmt: skip
def test_a_page_that_was_not_charged_follows_its_run_after_a_crash(
    worker: Worker, state: str, charged: int, page: str
) -> None:
    """The worker died before the call: a running run buys the page, another one releases it."""
    desk = worker.desk
    run = desk.submit("books")
    requested = worker.claim()
    if state in STOPS:
        STOPS[state][0](desk, run.id)
    worker.prepare(requested)
    worker.settle(worker.call(in_doubt=True))
    assert desk.market.ledger.questions == 1
    assert (desk.charged, desk.page(run.id, "books")["status"]) == (charged, page)
    assert desk.books(run.id) == (charged, 0, 0)


@pytest.mark.parametrize("honours", [True, False])
@pytest.mark.parametrize("then", ["lost", "garble", "spoil", "error", "cut"])
def test_a_call_without_a_readable_answer_is_charged_once(desk: Desk, then: Outcome, *, honours: bool) -> None:
    """Charged or not, and also by a marketplace that charges a reference twice."""
    desk.sells(books=Category(pages=2, items=2, price_cents=5))
    desk.market.change(honours_references=honours)
    rules(desk, then, times=1)
    run = desk.submit("books")
    drain_all(desk.connection)
    assert (desk.run(run.id).status, desk.run(run.id).total_items) == ("completed", 4)
    assert desk.books(run.id) == (10, 0, 0) == (desk.charged, 0, 0)
    assert desk.market.ledger.bought_again == 0


# Bills that come late -----------------------------------------------------------------------------


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(("cents", "books"), [(5, (5, 0, 0)), (2, (2, 0, 0)), (7, (7, 0, 0)), (9, (8, 0, 1))])
def test_a_bill_that_comes_after_the_stop_is_booked(
    worker: Worker, stop: str, cents: int, books: tuple[int, int, int]
) -> None:
    """To the cent, with its items, and the run stays as it is."""
    desk = worker.desk
    rules(desk, "serve", cents=cents)
    run = desk.submit("books", cap_cents=8)
    worker.claim()
    results = worker.call()
    STOPS[stop][0](desk, run.id)
    worker.settle(results)
    assert (desk.run(run.id).status, desk.books(run.id), desk.charged) == (stop, books, cents)
    assert desk.run(run.id).processed_items == 2


def test_a_run_that_is_resumed_with_nothing_left_completes(worker: Worker) -> None:
    """Its last bill came while it was paused."""
    desk = worker.desk
    run = desk.submit("books")
    worker.claim()
    results = worker.call()
    STOPS["paused"][0](desk, run.id)
    worker.settle(results)
    runs.resume_run(desk.context, run.id, actor="test")
    desk.work()
    assert (desk.run(run.id).status, desk.charged) == ("completed", 5)
    assert_published(desk.connection, JobCompleted, count=1)


# Accounts -----------------------------------------------------------------------------------------


def test_a_refused_key_pauses_the_run(desk: Desk) -> None:
    """Nothing is charged; with the right key, the resumed run buys every page."""
    desk.sells(books=ONE_PAGE, toys=ONE_PAGE)
    desk.market.change(api_keys={"other": "demo"})
    run = desk.submit("books", "toys")
    desk.work()
    run = desk.run(run.id)
    assert (run.status, run.pause_reason, desk.books(run.id)) == ("paused", "credentials", (0, 0, 0))
    assert "key_refused" in {page["error_code"] for page in desk.pages(run.id)}
    desk.market.change(api_keys={API_KEY: "demo"})
    runs.resume_run(desk.context, run.id, actor="test")
    desk.work()
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (10, 0, 0))


def test_a_disabled_account_pauses_the_run(worker: Worker) -> None:
    """It is looked at right before the call."""
    desk = worker.desk
    run = desk.submit("books")
    worker.claim()
    accounts.disable_account(desk.context, MARKETPLACE)
    worker.settle(worker.call())
    assert (desk.run(run.id).pause_reason, desk.charged) == ("credentials", 0)
    assert desk.page(run.id, "books")["error_code"] == "account_unusable"


def test_a_page_that_may_be_charged_stays_reserved_while_nobody_can_be_asked(worker: Worker) -> None:
    """The request becomes a dead letter, and its replay asks."""
    desk = worker.desk
    run = desk.submit("books")
    requested = worker.claim()
    worker.call()
    accounts.disable_account(desk.context, MARKETPLACE)
    worker.prepare(requested)
    with pytest.raises(Permanent, match="may be charged"):
        worker.call(in_doubt=True)
    assert desk.books(run.id) == (0, 5, 0)


def test_a_marketplace_that_is_busy_is_left_alone(desk: Desk) -> None:
    """Retry-After spends no attempt, and the whole account waits."""
    desk.sells(books=ONE_PAGE, toys=ONE_PAGE)
    accounts.set_account(desk.context, MARKETPLACE, max_calls=1)
    desk.market.change(retry_after_s=30)
    rules(desk, "busy", times=1)
    run = desk.submit("books", "toys")
    desk.work()
    assert desk.market.ledger.outcomes["busy"] == 1
    assert scalar(desk.connection, "SELECT count(*) FROM engine.rests WHERE until > now() + '20 s'") == 1
    assert desk.books(run.id) == (0, 10, 0)
    desk.connection.execute("DELETE FROM engine.rests")
    rules(desk, "serve")
    drain_all(desk.connection)
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (10, 0, 0))


# Pages and sources that fail ----------------------------------------------------------------------


def test_a_refused_page_ends_its_category_alone(desk: Desk) -> None:
    """The run goes on without it, and completes."""
    desk.sells(books=ONE_PAGE, toys=ONE_PAGE)
    rules(desk, "refuse", contains="books", message="no such category")
    run = desk.submit("books", "toys")
    desk.work()
    page = desk.page(run.id, "books")
    assert (page["status"], page["error_code"], page["error_message"]) == (
        "failed",
        "request_refused",
        "no such category",
    )
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (5, 0, 0))


def test_a_source_that_ends_fails_the_run(worker: Worker) -> None:
    """The reason is kept, other pages are not bought, and bills under way are still booked."""
    desk = worker.desk
    run = desk.submit("books", "toys")
    worker.claim()
    rules(desk, "end", contains="books", message="the source is closed")
    results = worker.call()
    assert [result.ends_run for result in results] == [True, False]
    worker.settle(results[:1])
    now = desk.run(run.id)
    assert (now.status, now.error_code, now.error_message) == ("failed", "source_ended", "the source is closed")
    assert_published(desk.connection, JobCompleted, count=1, status="failed")
    worker.settle(results[1:])
    assert (desk.run(run.id).status, desk.books(run.id), desk.charged) == ("failed", (5, 0, 0), 5)


def test_a_source_that_ends_while_the_run_is_paused_fails_it_when_it_goes_on(worker: Worker) -> None:
    """A paused run cannot fail: its page is asked for again."""
    desk = worker.desk
    run = desk.submit("books")
    rules(desk, "end", message="the source is closed")
    worker.claim()
    results = worker.call()
    STOPS["paused"][0](desk, run.id)
    worker.settle(results)
    assert (desk.run(run.id).status, desk.page(run.id, "books")["status"]) == ("paused", "pending")
    runs.resume_run(desk.context, run.id, actor="test")
    desk.work()
    assert desk.run(run.id).status == "failed"


def test_an_unreadable_answer_with_a_bill_is_booked_without_items(desk: Desk) -> None:
    """The marketplace does not show the page again, but its bill was readable."""
    desk.sells(books=ONE_PAGE)
    rules(desk, "spoil")
    worker = Worker(desk)
    run = desk.submit("books")
    worker.claim()
    (result,) = worker.call()
    assert result.status == "completed"  # asked for again at once, and readable
    worker.settle([result])
    assert desk.books(run.id) == (5, 0, 0)


def test_a_marketplace_that_stays_silent_leaves_a_dead_letter(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The price stays reserved, because the page may be charged. A replay buys it once."""
    monkeypatch.setenv("TALLYMAN_MOST_ATTEMPTS", "2")
    settings.cache_clear()
    desk.sells(books=ONE_PAGE)
    rules(desk, "error")
    run = desk.submit("books")
    drain_all(desk.connection)
    assert scalar(desk.connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 1
    assert desk.books(run.id) == (0, 5, 0)
    assert desk.run(run.id).status == "running"


def test_a_discarded_request_fails_its_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reservation is released, and the run completes without the page."""
    test_a_marketplace_that_stays_silent_leaves_a_dead_letter(desk, monkeypatch)
    letter = scalar(desk.connection, "SELECT id FROM engine.failed_jobs")
    (run_id,) = {run.id for run in runs.list_runs(desk.context)}
    manage.discard(desk.connection, [letter], note="of no use", actor="test")
    desk.work()
    page = desk.page(run_id, "books")
    assert (page["status"], page["error_code"]) == ("failed", "discarded")
    assert (desk.run(run_id).status, desk.books(run_id)) == ("completed", (0, 0, 0))


def test_asking_spends_no_money(worker: Worker) -> None:
    """A silent marketplace is asked by reference before anything is bought."""
    desk = worker.desk
    desk.submit("books")
    requested = worker.claim()
    rules(desk, "hold", times=1)
    settings.cache_clear()
    desk.market.start_over(Behaviour(categories={"books": ONE_PAGE}, is_down=True))
    with pytest.raises(Transient):
        worker.call()
    desk.market.change(is_down=False)
    worker.prepare(requested)
    worker.settle(worker.call(attempt=1))
    assert (desk.market.ledger.questions, desk.charged) == (1, 5)
