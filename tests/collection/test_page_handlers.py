"""Settling pages and counting items: each result once, in any order, and what a run does next."""

from __future__ import annotations

from typing import Any

import pytest

import events
from app.collection import runs
from app.collection.fixtures.collector import found
from app.collection.runs import Run
from app.collection.settle import settle
from app.collection.verdicts import ASKED_AGAIN
from app.context import Connection
from app.engine.queue.publish import publish
from app.simulators.marketplace import Category, ItemRule
from app.testing.published import assert_published
from events import Event
from events.collection import ItemCompleted, JobCompleted, PageRequested
from tests.helpers.collecting import Desk
from tests.helpers.support import scalar


def begun(desk: Desk, *names: str, price: int = 5, **options: Any) -> Run:
    """A run whose first pages are reserved, and no event waits."""
    desk.sells(**{name: Category(price_cents=price) for name in names})
    run = desk.start(*names, **options)
    desk.begin(run)
    return run


def say(desk: Desk, *said: Event[Any]) -> None:
    """Publish results, each in its own row, and deliver them."""
    publish(desk.connection, *said, batch_size=1)
    desk.handle()


def dead(connection: Connection) -> list[str]:
    """The reasons of all dead letters."""
    return [why for (why,) in connection.execute("SELECT error_message FROM engine.failed_jobs").fetchall()]


# Pages --------------------------------------------------------------------------------------------


def test_a_result_settles_everything_at_once(desk: Desk) -> None:
    """Cost, items with their parts, checkpoint, and the request of the next page."""
    run = begun(desk, "a")
    (said,) = desk.results(run, cost_cents=7, items=(found("A"), found("B"), found("C")))
    say(desk, said)
    assert desk.books(run.id) == (7, 0, 0)
    assert [item["cost_cents"] for item in desk.items(run.id)] == [3, 2, 2]
    assert desk.run(run.id).checkpoint == {"a": {"pages": 1, "cursor": "next", "done": False}}
    (request,) = assert_published(desk.connection, PageRequested, count=1)
    assert (request.data.cursor, request.data.attempt, request.data.cost_cents) == ("next", 1, 5)
    assert request.data.page_id == desk.page(run.id, "a", 2)["id"]


def test_a_result_counts_once(desk: Desk) -> None:
    """Also under several ids, in one batch and after the page has ended."""
    run = begun(desk, "a")
    (said,) = desk.results(run)
    publish(desk.connection, said, said, desk.event(said.data))
    desk.handle()
    say(desk, desk.event(said.data))
    assert (desk.books(run.id), desk.run(run.id).total_items) == ((5, 0, 0), 2)
    assert_published(desk.connection, PageRequested, count=1)


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_result_of_another_attempt_changes_nothing(desk: Desk, attempt: int) -> None:
    """It is late, or of an attempt that nobody made."""
    run = begun(desk, "a")
    say(desk, *desk.results(run, attempt=attempt))
    assert (desk.books(run.id), desk.run(run.id).total_items) == ((0, 5, 0), 0)


def test_a_result_of_another_organisation_is_buried(desk: Desk) -> None:
    """The other results of the batch count."""
    run = begun(desk, "a", "b")
    first, second = desk.results(run)
    publish(desk.connection, desk.event(first.data, tenant=events.new_id()), second)
    desk.handle()
    assert desk.books(run.id) == (5, 5, 0)
    assert ["is not of run" in why for why in dead(desk.connection)] == [True]


def test_an_empty_page_costs_what_it_costs(desk: Desk) -> None:
    """The page bears its cost alone."""
    run = begun(desk, "a")
    say(desk, *desk.results(run, items=(), next_cursor=None))
    assert (desk.books(run.id), desk.run(run.id).status) == ((5, 0, 0), "completed")
    assert desk.page(run.id, "a")["cost_cents"] == 5


def test_a_page_without_a_price_is_settled_like_any_other(desk: Desk) -> None:
    """Zero reserved, zero charged."""
    run = begun(desk, "a", price=0)
    say(desk, *desk.results(run, cost_cents=0, next_cursor=None))
    assert (desk.books(run.id), desk.run(run.id).status) == ((0, 0, 0), "completed")


@pytest.mark.parametrize("cursor", ["", "next"])
def test_a_cursor_that_repeats_ends_the_category(desk: Desk, cursor: str) -> None:
    """The marketplace leads in a circle: to this page, or to an earlier one. No further page is bought."""
    run = begun(desk, "a")
    say(desk, *desk.results(run))
    desk.begin(run)
    say(desk, *desk.results(run, next_cursor=cursor or "next", items=()))
    page = desk.page(run.id, "a", 2)
    assert (page["status"], page["error_code"]) == ("completed", "cursor_repeats")
    assert desk.run(run.id).checkpoint["a"]["done"]
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (10, 0, 0))


def test_a_long_circle_ends_at_its_first_page(desk: Desk) -> None:
    """The third page leads back to the second."""
    run = begun(desk, "a")
    for cursor in ("second", "third", "second"):
        say(desk, *desk.results(run, next_cursor=cursor, items=()))
        desk.begin(run)
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (15, 0, 0))
    assert desk.page(run.id, "a", 3)["error_code"] == "cursor_repeats"


def test_the_same_cursor_of_two_categories_is_no_circle(desk: Desk) -> None:
    """Cursors are a category's own."""
    run = begun(desk, "a", "b")
    say(desk, *desk.results(run))
    assert_published(desk.connection, PageRequested, count=2, cursor="next")


def test_results_of_two_runs_are_settled_together(desk: Desk) -> None:
    """One batch, each run with its own books."""
    first, second = begun(desk, "a"), begun(desk, "a")
    publish(desk.connection, *desk.results(second, cost_cents=3), *desk.results(first, cost_cents=4))
    desk.handle()
    assert (desk.books(first.id), desk.books(second.id)) == ((4, 0, 0), (3, 0, 0))


def test_no_page_is_requested_while_the_run_is_paused(desk: Desk) -> None:
    """The next page waits as pending, and is requested once when the run goes on."""
    run = begun(desk, "a")
    runs.pause_run(desk.context, run.id, actor="test")
    say(desk, *desk.results(run))
    assert_published(desk.connection, PageRequested, count=0)
    runs.resume_run(desk.context, run.id, actor="test")
    desk.handle()
    assert_published(desk.connection, PageRequested, count=1, cursor="next")


def test_a_cancelled_run_keeps_what_it_paid_for(desk: Desk) -> None:
    """The items of pages that were under way count, and no page follows."""
    run = begun(desk, "a")
    runs.cancel_run(desk.context, run.id, actor="test")
    say(desk, *desk.results(run))
    now = desk.run(run.id)
    assert (now.status, now.processed_items, desk.books(run.id)) == ("cancelled", 2, (5, 0, 0))
    assert len(desk.pages(run.id)) == 1


# Items --------------------------------------------------------------------------------------------


def test_an_item_on_two_pages_is_one_item(desk: Desk) -> None:
    """It belongs to the first page, and the others on the second page bear its cost."""
    run = begun(desk, "a", "b")
    first, second = desk.results(run, items=(found("X"),), next_cursor=None)
    say(desk, first)
    say(desk, desk.event(second.data.model_copy(update={"items": (found("X"), found("Y"), found("X"))})))
    assert [(item["external_id"], item["cost_cents"]) for item in desk.items(run.id)] == [("X", 5), ("Y", 5)]
    assert desk.run(run.id).processed_items == 2


def test_an_item_of_two_marketplaces_is_two_items(desk: Desk) -> None:
    """They have different prices."""
    run = begun(desk, "a")
    say(desk, *desk.results(run, items=(found("X"), found("X", marketplace="amazon.es")), next_cursor=None))
    assert [item["marketplace"] for item in desk.items(run.id)] == ["amazon.de", "amazon.es"]


def test_an_item_twice_in_one_batch_is_one_item(desk: Desk) -> None:
    """Two pages that are settled together."""
    run = begun(desk, "a", "b")
    publish(desk.connection, *desk.results(run, items=(found("X"), found("Y")), next_cursor=None))
    desk.handle()
    assert (desk.run(run.id).total_items, desk.run(run.id).status) == (2, "completed")


def test_unwanted_items_are_skipped_with_the_reason(desk: Desk) -> None:
    """By id or by the seller's name, whatever the case."""
    run = begun(desk, "a", unwanted=["b0x", "Acme Inc."])
    seller = found("user:seller_1", item_type="ebay_seller", data={"normalized_name": "acme"})
    say(desk, *desk.results(run, items=(found("B0X"), seller, found("B0Y")), next_cursor=None))
    assert [(item["external_id"], item["status"], item["error_code"]) for item in desk.items(run.id)] == [
        ("B0X", "skipped", "unwanted"),
        ("B0Y", "completed", None),
        ("user:seller_1", "skipped", "unwanted"),
    ]
    now = desk.run(run.id)
    assert (now.status, now.processed_items, now.failed_items) == ("completed", 3, 0)


@pytest.mark.parametrize("code", sorted(ASKED_AGAIN))
def test_an_item_with_a_passing_error_is_asked_for_again(desk: Desk, code: str) -> None:
    """Alone, at most twice; then it has failed, and the run has not."""
    desk.sells(a=Category(pages=1, items=2, price_cents=5))
    desk.market.change(item_rules=[ItemRule(code=code, times=1).model_dump()])
    run = desk.submit("a")
    desk.work()
    now = desk.run(run.id)
    assert (now.status, now.processed_items, now.failed_items) == ("completed", 2, 0)
    assert desk.charged == now.actual_cost_cents == 7
    assert [item["attempt"] for item in desk.items(run.id)] == [1, 1]


def test_an_item_that_fails_again_and_again_has_failed(desk: Desk) -> None:
    """After two more requests, each paid for."""
    desk.sells(a=Category(pages=1, items=2, price_cents=5))
    desk.market.change(item_rules=[ItemRule(code="timeout").model_dump()])
    run = desk.submit("a")
    desk.work()
    now = desk.run(run.id)
    assert (now.status, now.processed_items, now.failed_items) == ("completed", 0, 2)
    assert desk.charged == now.actual_cost_cents == 9
    assert {(item["status"], item["error_code"], item["attempt"]) for item in desk.items(run.id)} == {
        ("failed", "timeout", 2)
    }


def test_an_item_with_a_final_error_fails_at_once(desk: Desk) -> None:
    """And is not asked for again."""
    run = begun(desk, "a")
    say(desk, *desk.results(run, items=(found("X", data=None, error_code="not_found"),), next_cursor=None))
    assert (desk.run(run.id).status, desk.run(run.id).failed_items) == ("completed", 1)


def test_an_item_that_the_answer_leaves_out_has_failed(desk: Desk) -> None:
    """It was asked for again, and nothing was said about it."""
    run = begun(desk, "a")
    failing = tuple(found(name, data=None, error_code="timeout") for name in ("X", "Y"))
    say(desk, *desk.results(run, items=failing, next_cursor=None))
    desk.begin(run)
    say(desk, *desk.results(run, items=(found("X"),), next_cursor=None, cost_cents=1))
    assert [(item["status"], item["error_code"]) for item in desk.items(run.id)] == [
        ("completed", None),
        ("failed", "not_returned"),
    ]
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (6, 0, 0))


def test_items_fail_with_the_page_that_asks_for_them(desk: Desk) -> None:
    """The marketplace refuses that page."""
    run = begun(desk, "a")
    say(desk, *desk.results(run, items=(found("X", data=None, error_code="timeout"),), next_cursor=None))
    desk.begin(run)
    failed = {"status": "failed", "items": (), "next_cursor": None, "cost_cents": 0}
    say(desk, *desk.results(run, **failed, error_code="request_refused", error_message="no"))
    (item,) = desk.items(run.id)
    assert (item["status"], item["error_code"], desk.run(run.id).status) == ("failed", "request_refused", "completed")


def test_items_fail_with_the_run_that_would_ask_for_them(desk: Desk) -> None:
    """Another page ends the run, and no item stays open."""
    run = begun(desk, "a", "b")
    first, second = desk.results(run, next_cursor=None)
    say(desk, desk.event(first.data.model_copy(update={"items": (found("X", data=None, error_code="timeout"),)})))
    end = {"status": "failed", "items": (), "cost_cents": 0, "ends_run": True, "error_code": "source_ended"}
    say(desk, desk.event(second.data.model_copy(update=end)))
    (item,) = desk.items(run.id)
    assert (item["status"], item["error_code"]) == ("failed", "cancelled")
    assert (desk.run(run.id).status, desk.run(run.id).failed_items) == ("failed", 1)


def test_a_result_of_an_item_counts_once(desk: Desk) -> None:
    """Under any id, in any order, and the first one wins."""
    run = begun(desk, "a", "b")
    say(desk, *desk.results(run, items=(found("X"),)))
    (said,) = assert_published(desk.connection, ItemCompleted, count=1)
    bad = said.data.model_copy(update={"status": "failed", "data": None, "error_code": "late"})
    publish(desk.connection, desk.event(bad), desk.event(said.data))
    desk.handle()
    now = desk.run(run.id)
    assert (now.processed_items, now.failed_items, now.total_items) == (1, 0, 1)


def test_a_result_of_an_unknown_item_is_buried(desk: Desk) -> None:
    """Or of another organisation's."""
    run = begun(desk, "a")
    said = ItemCompleted(
        run_id=run.id, marketplace="m", item_type="amazon_product", external_id="X", status="completed"
    )
    say(desk, desk.event(said), desk.event(said, tenant=events.new_id()))
    assert sorted(why.partition(": ")[2] for why in dead(desk.connection)) == [
        f"run {run.id} has no such item",
        f"run {run.id} is not of this organisation",
    ]


# The end ------------------------------------------------------------------------------------------


def test_a_run_ends_with_its_last_item(desk: Desk) -> None:
    """Not with its last page."""
    run = begun(desk, "a")
    (said,) = desk.results(run, next_cursor=None)
    with desk.connection.transaction():
        follow = settle(desk.context, [(said, said.data)])
    assert (desk.page(run.id, "a")["status"], desk.run(run.id).status) == ("completed", "running")
    say(desk, *follow[:1])
    assert desk.run(run.id).status == "running"
    say(desk, *follow[1:])
    assert desk.run(run.id).status == "completed"
    assert_published(desk.connection, JobCompleted, count=1, total_items=2, processed_items=2)


def test_the_next_run_starts_when_one_ends(desk: Desk) -> None:
    """By the events of its end."""
    desk.sells(a=Category(pages=1, items=1, price_cents=1))
    waiting = [desk.submit("a") for _ in range(5)]
    assert [desk.run(run.id).status for run in waiting] == ["running"] * 3 + ["pending"] * 2
    desk.work()
    assert {desk.run(run.id).status for run in waiting} == {"completed"}
    assert scalar(desk.connection, "SELECT sum(actual_cost_cents) FROM collection.collection_runs") == desk.charged
