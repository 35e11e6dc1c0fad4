"""Pages: their first requests, and what a pause does to them."""

from __future__ import annotations

import psycopg
import pytest

from app.collection import page_ids, pages, runs
from app.collection.settle import cancel_pending
from app.testing.published import assert_published
from events import new_id
from events.collection import PageRequested
from tests.helpers.collecting import Desk


def test_first_pages_are_inserted_once(desk: Desk) -> None:
    """One a category, with its price; what exists stays."""
    run = desk.start("a", "b")
    before = desk.pages(run.id)
    pages.insert_first(desk.connection, run.id, desk.org_id, {"a": 99, "b": 99})
    assert desk.pages(run.id) == before
    assert [(page["category_id"], page["cursor"], page["number"]) for page in before] == [("a", "", 1), ("b", "", 1)]


def test_each_request_of_pending_pages_is_a_new_attempt(desk: Desk) -> None:
    """The event names it, and earlier requests are late from then on."""
    run = desk.start("a")
    assert desk.page(run.id, "a")["attempt"] == 1
    (event,) = pages.request_pending(desk.connection, desk.context.now, [run.id])
    assert event.data.attempt == desk.page(run.id, "a")["attempt"] == 2
    assert (event.id, event.tenantid) == (page_ids.request_id(event.data.page_id, 2), desk.org_id)


def test_pages_that_have_begun_are_not_requested_again(desk: Desk) -> None:
    """Their results are under way."""
    run = desk.start("a", "b")
    desk.begin(run)
    assert pages.request_pending(desk.connection, desk.context.now, [run.id]) == []


def test_pages_are_locked_with_the_state_of_their_runs(desk: Desk) -> None:
    """Unknown ids are left out."""
    run = desk.start("a")
    runs.pause_run(desk.context, run.id, actor="test")
    page_id = page_ids.page_id(run.id, "a", "")
    with desk.connection.transaction():
        locked = pages.lock(desk.connection, [page_id, new_id()])
    assert {page: one.run_status for page, one in locked.items()} == {page_id: "paused"}
    assert not locked[page_id].was_begun


def test_a_cancelled_run_cancels_its_pending_pages(desk: Desk) -> None:
    """Pages that have begun keep their reservations until they are settled."""
    run = desk.start("a")
    desk.begin(run)
    pages.insert_first(desk.connection, run.id, desk.org_id, {"b": 5})
    with desk.connection.transaction():
        cancel_pending(desk.context, [run.id])
    assert [page["status"] for page in desk.pages(run.id)] == ["processing", "cancelled"]
    assert desk.books(run.id)[1] == desk.page(run.id, "a")["reserved_cents"] > 0
    assert_published(desk.connection, PageRequested, count=0)


def test_only_a_page_that_has_begun_can_have_a_reservation(desk: Desk) -> None:
    """The table refuses it."""
    run = desk.start("a")
    with pytest.raises(psycopg.errors.CheckViolation):
        desk.connection.execute("UPDATE collection.collection_pages SET reserved_cents = 1 WHERE run_id = %s", [run.id])
