"""Dead requests of pages: which pages wait for them, and discarding."""

from __future__ import annotations

from typing import Any

import pytest

from app.collection import dead_pages, pages
from app.collection.runs import Run
from app.context import HandlerContext
from app.errors import Conflict
from app.simulators.marketplace import Category
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


def test_the_page_of_a_discarded_request_fails(desk: Desk, run: Run) -> None:
    """Its reservation is released, and no result is awaited. A request of another attempt changes nothing."""
    assert desk.books(run.id) == (0, 5, 0)
    with desk.connection.transaction():
        context = HandlerContext.begin(desk.connection)
        assert dead_pages.discard(context, [requested(desk, run, attempt=9)], "of no use") == []
        dead_pages.discard(context, [requested(desk, run)], "of no use")
    page = desk.page(run.id, "a")
    assert (page["status"], page["error_code"], page["error_message"]) == (
        "failed",
        dead_pages.DISCARDED,
        "of no use",
    )
    assert desk.books(run.id) == (0, 0, 0)
    assert dead_pages.open_pages(desk.connection, [requested(desk, run)]) == {}


def test_a_page_whose_call_is_in_progress_is_not_discarded(
    desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is unchanged."""
    event = requested(desk, run)
    monkeypatch.setattr(dead_pages, "live", lambda _connection, keys: set(keys))
    with pytest.raises(Conflict, match="calls of 1 of them are in progress"), desk.connection.transaction():
        dead_pages.discard(HandlerContext.begin(desk.connection), [event], "of no use")
    assert desk.page(run.id, "a")["status"] == "processing"
