"""Settling pages: each result once, in any order, and what a run does next."""

from __future__ import annotations

import pytest

import events
from app.collection import runs
from app.collection.fixtures.collector import found
from app.context import Connection
from app.engine.queue.publish import publish
from app.testing.published import assert_published
from events.collection import PageRequested
from tests.helpers.collecting import Desk, begun, deliver_each


def dead(connection: Connection) -> list[str]:
    """The reasons of all dead letters."""
    return [why for (why,) in connection.execute("SELECT error_message FROM engine.failed_jobs").fetchall()]


def test_a_result_settles_everything_at_once(desk: Desk) -> None:
    """Cost, items with their parts, checkpoint, and the request of the next page."""
    run = begun(desk, "a")
    (said,) = desk.results(run, cost_cents=7, items=(found("A"), found("B"), found("C")))
    deliver_each(desk, said)
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
    deliver_each(desk, desk.event(said.data))
    assert (desk.books(run.id), desk.run(run.id).total_items) == ((5, 0, 0), 2)
    assert_published(desk.connection, PageRequested, count=1)


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_result_of_another_attempt_changes_nothing(desk: Desk, attempt: int) -> None:
    """It is late, or of an attempt that nobody made."""
    run = begun(desk, "a")
    deliver_each(desk, *desk.results(run, attempt=attempt))
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
    deliver_each(desk, *desk.results(run, items=(), next_cursor=None))
    assert (desk.books(run.id), desk.run(run.id).status) == ((5, 0, 0), "completed")
    assert desk.page(run.id, "a")["cost_cents"] == 5


def test_a_page_without_a_price_is_settled_like_any_other(desk: Desk) -> None:
    """Zero reserved, zero charged."""
    run = begun(desk, "a", price=0)
    deliver_each(desk, *desk.results(run, cost_cents=0, next_cursor=None))
    assert (desk.books(run.id), desk.run(run.id).status) == ((0, 0, 0), "completed")


@pytest.mark.parametrize("cursor", ["", "next"])
def test_a_cursor_that_repeats_ends_the_category(desk: Desk, cursor: str) -> None:
    """The marketplace leads in a circle: to this page, or to an earlier one. No further page is bought."""
    run = begun(desk, "a")
    deliver_each(desk, *desk.results(run))
    desk.begin(run)
    deliver_each(desk, *desk.results(run, next_cursor=cursor or "next", items=()))
    page = desk.page(run.id, "a", 2)
    assert (page["status"], page["error_code"]) == ("completed", "cursor_repeats")
    assert desk.run(run.id).checkpoint["a"]["done"]
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (10, 0, 0))


def test_a_long_circle_ends_at_its_first_page(desk: Desk) -> None:
    """The third page leads back to the second."""
    run = begun(desk, "a")
    for cursor in ("second", "third", "second"):
        deliver_each(desk, *desk.results(run, next_cursor=cursor, items=()))
        desk.begin(run)
    assert (desk.run(run.id).status, desk.books(run.id)) == ("completed", (15, 0, 0))
    assert desk.page(run.id, "a", 3)["error_code"] == "cursor_repeats"


def test_the_same_cursor_of_two_categories_is_no_circle(desk: Desk) -> None:
    """Cursors are a category's own."""
    run = begun(desk, "a", "b")
    deliver_each(desk, *desk.results(run))
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
    deliver_each(desk, *desk.results(run))
    assert_published(desk.connection, PageRequested, count=0)
    runs.resume_run(desk.context, run.id, actor="test")
    desk.handle()
    assert_published(desk.connection, PageRequested, count=1, cursor="next")


def test_a_cancelled_run_keeps_what_it_paid_for(desk: Desk) -> None:
    """The items of pages that were under way count, and no page follows."""
    run = begun(desk, "a")
    runs.cancel_run(desk.context, run.id, actor="test")
    deliver_each(desk, *desk.results(run))
    now = desk.run(run.id)
    assert (now.status, now.processed_items, desk.books(run.id)) == ("cancelled", 2, (5, 0, 0))
    assert len(desk.pages(run.id)) == 1
