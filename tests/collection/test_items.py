"""Items of pages: one a run, skipped, asked for again, and failed."""

from __future__ import annotations

from typing import Any

import pytest

from app.collection.fixtures.collector import found
from app.collection.verdicts import ASKED_AGAIN
from app.context import HandlerContext
from app.engine.domain import use, wiring
from app.engine.merge import merged
from app.engine.queue.publish import publish
from app.engine.subscribers import subscriber
from app.simulators.marketplace import Category, ItemRule
from events import Event
from events.collection import ItemCompleted
from tests.helpers.collecting import Desk, begun, deliver_each


def test_an_item_on_two_pages_is_one_item(desk: Desk) -> None:
    """It belongs to the first page, and the others on the second page bear its cost."""
    run = begun(desk, "a", "b")
    first, second = desk.results(run, items=(found("X"),), next_cursor=None)
    deliver_each(desk, first)
    deliver_each(desk, desk.event(second.data.model_copy(update={"items": (found("X"), found("Y"), found("X"))})))
    assert [(item["external_id"], item["cost_cents"]) for item in desk.items(run.id)] == [("X", 5), ("Y", 5)]
    assert desk.run(run.id).processed_items == 2


def test_an_item_of_two_marketplaces_is_two_items(desk: Desk) -> None:
    """They have different prices."""
    run = begun(desk, "a")
    deliver_each(desk, *desk.results(run, items=(found("X"), found("X", marketplace="amazon.es")), next_cursor=None))
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
    deliver_each(desk, *desk.results(run, items=(found("B0X"), seller, found("B0Y")), next_cursor=None))
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
    deliver_each(desk, *desk.results(run, items=(found("X", data=None, error_code="not_found"),), next_cursor=None))
    assert (desk.run(run.id).status, desk.run(run.id).failed_items) == ("completed", 1)


def test_an_item_that_the_answer_leaves_out_has_failed(desk: Desk) -> None:
    """It was asked for again, and nothing was said about it."""
    run = begun(desk, "a")
    failing = tuple(found(name, data=None, error_code="timeout") for name in ("X", "Y"))
    deliver_each(desk, *desk.results(run, items=failing, next_cursor=None))
    desk.begin(run)
    deliver_each(desk, *desk.results(run, items=(found("X"),), next_cursor=None, cost_cents=1))
    assert [(item["status"], item["error_code"]) for item in desk.items(run.id)] == [
        ("completed", None),
        ("failed", "not_returned"),
    ]
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (6, 0, 0))


def test_items_fail_with_the_page_that_asks_for_them(desk: Desk) -> None:
    """The marketplace refuses that page."""
    run = begun(desk, "a")
    deliver_each(desk, *desk.results(run, items=(found("X", data=None, error_code="timeout"),), next_cursor=None))
    desk.begin(run)
    failed = {"status": "failed", "items": (), "next_cursor": None, "cost_cents": 0}
    deliver_each(desk, *desk.results(run, **failed, error_code="request_refused", error_message="no"))
    (item,) = desk.items(run.id)
    assert (item["status"], item["error_code"], desk.run(run.id).status) == ("failed", "request_refused", "completed")


def test_items_fail_with_the_run_that_would_ask_for_them(desk: Desk) -> None:
    """Another page ends the run, and no item stays open."""
    run = begun(desk, "a", "b")
    first, second = desk.results(run, next_cursor=None)
    deliver_each(
        desk, desk.event(first.data.model_copy(update={"items": (found("X", data=None, error_code="timeout"),)}))
    )
    end = {"status": "failed", "items": (), "cost_cents": 0, "ends_run": True, "error_code": "source_ended"}
    deliver_each(desk, desk.event(second.data.model_copy(update=end)))
    (item,) = desk.items(run.id)
    assert (item["status"], item["error_code"]) == ("failed", "cancelled")
    assert (desk.run(run.id).status, desk.run(run.id).failed_items) == ("failed", 1)


# Subscribers --------------------------------------------------------------------------------------


def test_subscribers_get_a_copy_for_each_item_with_a_result(desk: Desk) -> None:
    """Also for those that have it with their page. One that is asked for again comes with its own result."""
    heard: list[ItemCompleted] = []

    def hear(_context: HandlerContext, said: list[Event[ItemCompleted]]) -> list[Event[Any]]:
        heard.extend(event.data for event in said)
        return []

    both = merged([("program", wiring()), ("hooks", subscriber("hooks/items", handlers={ItemCompleted: hear}))])
    with use(both):
        desk.sells(a=Category(price_cents=5))
        run = desk.start("a")
        desk.begin(run)
        (said,) = desk.results(run, items=(found("X"), found("Y", data=None, error_code="timeout"), found("Z")))
        publish(desk.connection, said)
        desk.handle()
    assert sorted((item.external_id, item.status, item.cost_cents) for item in heard) == [
        ("X", "completed", 2),
        ("Z", "completed", 1),
    ]
