"""Answers of marketplaces about requests whose calls may have been made."""

from __future__ import annotations

import asyncio

from app.collection import accounts, lookup, market, pages
from app.collection.runs import Run
from app.simulators.marketplace import Category
from events import Event, new_id
from events.collection import PageRequested
from tests.collection.conftest import MARKETPLACE
from tests.helpers.collecting import Desk


def requested(desk: Desk, run: Run) -> Event[PageRequested]:
    """Return the request of the run's first page."""
    page_id = desk.page(run.id, "a")["id"]
    return pages.request(pages.find(desk.connection, [page_id])[page_id], desk.context.now)


def answer(event: Event[PageRequested]) -> str:
    """Return the answer about one request."""

    async def ask() -> str:
        try:
            return (await lookup.ask([event]))[event.id]
        finally:
            await market.close()

    return asyncio.run(ask())


def test_a_charged_page_is_found(desk: Desk) -> None:
    """The bill is named. A page that was not charged can be bought."""
    desk.sells(a=Category(price_cents=5, pages=1))
    run = desk.start("a")
    event = requested(desk, run)
    assert answer(event) == "the marketplace has not charged it: the replay buys it if the run is running"
    desk.buy()
    assert answer(event) == "the marketplace has charged it 5 cents: the replay books that and buys nothing"


def test_without_an_account_the_marketplace_cannot_be_asked(desk: Desk) -> None:
    """Nor about a page that does not exist."""
    desk.sells(a=Category(price_cents=5, pages=1))
    event = requested(desk, desk.start("a"))
    gone = event.model_copy(update={"id": new_id(), "data": event.data.model_copy(update={"page_id": new_id()})})
    assert answer(gone) == "the marketplace was not asked: the page is gone"
    accounts.disable_account(desk.context, MARKETPLACE)
    assert answer(event).startswith("the marketplace could not be asked: the account with amazon.de is disabled")
