"""Ask marketplaces about requests whose calls may have been made."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.collection import market
from app.collection.gateway import MarketError
from app.engine.domain import Prepared
from app.errors import NotCalled
from events import Event
from events.collection import PageRequested


async def ask(requested: Sequence[Event[PageRequested]]) -> dict[UUID, str]:
    """Ask the marketplaces about requests whose calls may have been made. Returns answers as text, by event id."""
    from app import database  # noqa: PLC0415 - only an admin's command needs it

    with database.connect() as connection:
        found = market.recheck(connection, [Prepared(event, None) for event in requested])
    return {event.id: await _ask(event, found.get(event.id)) for event in requested}


async def _ask(event: Event[PageRequested], now: market.Now | None) -> str:
    if now is None:
        return "the marketplace was not asked: the page is gone"
    try:
        account = market.account(now)
        found = await market.market().find(account, [str(event.data.page_id)])
    except (MarketError, NotCalled) as error:
        return f"the marketplace could not be asked: {error}"
    result = found.get(str(event.data.page_id))
    if result is None:
        return "the marketplace has not charged it: the replay buys it if the run is running"
    return f"the marketplace has charged it {result.charged_cents} cents: the replay books that and buys nothing"
