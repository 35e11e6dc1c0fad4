"""The effect of a page's request: buy the page from the marketplace, at most once in all attempts.

prepare   In the claiming transaction: reserve the price. If it does not fit the cap, the run pauses in the same commit,
          and the page waits as pending until the run goes on.
call      No transaction is open. If an earlier delivery may have made the call, ask the marketplace by reference first:
          a charged page is the result. Otherwise check run and account once more, right before the call.

Why no page is charged twice. The reference is the page's id in all attempts. Calls of one attempt never overlap: the
engine marks each before it begins. The next attempt begins only after this one was settled as released, which happens
only to a page that was not called in that delivery and, if an earlier one may have called, that the marketplace does
not know. Every delivery after the first of a page that has begun asks before it calls. The engine lets it ask only
after the grace period, so that the answer is final.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.collection import accounts, answers_read, budget, dead_pages, lookup, page_ids, pages
from app.collection.gateway import (
    Account,
    KeyRefused,
    MarketBusy,
    MarketError,
    Marketplace,
    MarketProtocolError,
    PageResult,
    RequestRefused,
    SourceEnded,
)
from app.collection.market import Now, account, close, market, recheck
from app.collection.pages import Page
from app.context import Connection, HandlerContext
from app.engine.domain import Call, ConcurrencyLimit, Effect, Prepared
from app.engine.queue.publish import publish
from app.errors import BadAnswer, Busy, FailingEvents, NotCalled, Permanent
from app.settings import settings
from events import Event
from events.collection import PageCompleted, PageRequested

QUEUE = "marketplaces"
_BUSY_S = 5.0
"""Seconds to wait for a marketplace that has too many calls and does not say for how long."""

_LIMITS = """
SELECT p.id, a.id, a.max_calls
  FROM collection.collection_pages p
  JOIN collection.collection_runs r ON r.id = p.run_id
  JOIN collection.marketplace_accounts a ON (a.org_id, a.marketplace) = (r.org_id, r.marketplace)
 WHERE p.id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Purchase:
    """A page to buy. `begun`: an earlier delivery may have made the call."""

    page: Page
    begun: bool


def limits(connection: Connection, requested: Sequence[Event[PageRequested]]) -> dict[UUID, ConcurrencyLimit]:
    """Return the concurrency limit of each request, by event id: `max_calls` of the account, over all workers."""
    rows = connection.execute(_LIMITS, [[event.data.page_id for event in requested]]).fetchall()
    found = {page: ConcurrencyLimit(accounts.limit_key(account), most) for page, account, most in rows}
    return {event.id: found[event.data.page_id] for event in requested if event.data.page_id in found}


def prepare(context: HandlerContext, requested: Sequence[Event[PageRequested]]) -> Iterator[Prepared]:
    """Reserve the prices of the pages that still wait for their request. Pauses runs whose cap has no room.

    Raises `FailingEvents` for a page that does not exist, or is another run's or organisation's.
    """
    connection = context.connection
    locked = pages.lock(connection, {event.data.page_id for event in requested})
    waiting = list(_waiting(locked, requested))
    wanted = [page for _, page in waiting if page.status == "pending" and page.run_status == "running"]
    reserved = budget.reserve(connection, [page.id for page in wanted])
    short = [(event, page) for event, page in waiting if page in wanted and page.id not in reserved]
    causes = {page.run_id: event for event, page in reversed(short)}
    publish(connection, *budget.pause(context, causes.keys(), "budget", causes))
    for event, page in waiting:
        # A page that has begun may be charged, whatever its run's state is now.
        if page.status == "processing" or page.id in reserved:
            yield Prepared(event, Purchase(page, begun=page.status == "processing" or page.was_begun))


def _waiting(
    locked: Mapping[UUID, Page], requested: Sequence[Event[PageRequested]]
) -> Iterator[tuple[Event[PageRequested], Page]]:
    mismatched = {
        event.id: f"page {event.data.page_id} is not of run {event.data.run_id} of this organisation"
        for event in requested
        if (page := locked.get(event.data.page_id)) is None
        or (page.run_id, page.org_id) != (event.data.run_id, event.tenantid)
    }
    if mismatched:
        raise FailingEvents(mismatched)
    for event in requested:
        page = locked[event.data.page_id]
        if page.is_open and page.attempt == event.data.attempt:
            yield event, page


async def buy_page(prepared: Prepared, call: Call) -> PageCompleted:
    """Buy a page. Returns the result's payload.

    Raises the gateway's transient errors, and permanent ones if the page may be charged and the marketplace cannot be
    asked: the page then stays reserved.
    """
    purchase: Purchase = prepared.work
    now: Now | None = await call.still_mine()
    if purchase.begun or call.in_doubt or call.attempt:
        found = await _found(purchase.page, now)
        if found is not None:
            # Also if the run has ended meanwhile: the page is charged.
            return _bought(purchase.page, found)
        now = await call.still_mine()
    if now is not None and now.discard_reason:
        return _failed(purchase.page, dead_pages.DISCARDED, now.discard_reason)
    if now is None or not (now.is_awaited and now.may_buy):
        return _released(purchase.page, "run_stopped", "the run stopped before the call")
    try:
        own = account(now)
    except NotCalled as error:
        return _released(purchase.page, "account_unusable", str(error))
    return await _buy(market(), own, purchase.page)


async def _found(page: Page, now: Now | None) -> PageResult | None:
    """Ask the marketplace whether a page is charged. Raises `Permanent` if it cannot be asked."""
    if now is None:
        raise Permanent("the page is gone, and may be charged")
    try:
        answers = await market().find(account(now), [str(page.id)])
    except (NotCalled, KeyRefused) as error:
        message = (
            f"the page may be charged, and the marketplace cannot be asked: {error}; then replay this letter, or record"
            " its bill with `dead resolve --as-done`"
        )
        raise Permanent(message) from error
    except MarketProtocolError as error:
        raise BadAnswer(str(error)) from error
    except MarketBusy as error:
        raise _busy(error) from error
    return answers.get(str(page.id))


async def _buy(gateway: Marketplace, account: Account, page: Page) -> PageCompleted:
    try:
        if page.external_ids:
            return _bought(page, await gateway.fetch_items(account, str(page.id), page.external_ids))
        return _bought(page, await gateway.fetch(account, str(page.id), page.category_id, page.cursor))
    except KeyRefused as error:
        return _released(page, "key_refused", str(error))
    except RequestRefused as error:
        return _failed(page, "request_refused", str(error))
    except SourceEnded as error:
        return _failed(page, "source_ended", str(error), ends_run=True)
    except MarketBusy as error:
        raise _busy(error) from error
    except MarketProtocolError as error:
        return await _unreadable(gateway, account, page, error)


async def _unreadable(gateway: Marketplace, account: Account, page: Page, error: MarketProtocolError) -> PageCompleted:
    """Return the result after an answer that cannot be read: what was charged is asked for, or booked without items."""
    if error.charged_cents is None:
        if error.maybe_charged:
            raise BadAnswer(str(error)) from error  # the next delivery asks
        return _released(page, "account_unusable", str(error))
    try:
        found = await gateway.find(account, [str(page.id)])
    except MarketError:
        found = {}
    if str(page.id) in found:
        return _bought(page, found[str(page.id)])
    return _failed(page, "unreadable_answer", str(error), cost_cents=error.charged_cents)


def _busy(error: MarketBusy) -> Exception:
    return error if error.retry_after is not None else Busy(str(error), delay=_BUSY_S)


def _bought(page: Page, found: PageResult) -> PageCompleted:
    return PageCompleted(
        **_about(page),
        status="completed",
        cost_cents=found.charged_cents,
        next_cursor=found.next_cursor,
        items=tuple(answers_read.found_item(item) for item in found.items),
    )


def _released(page: Page, code: str, message: str) -> PageCompleted:
    return PageCompleted(**_about(page), status="released", error_code=code, error_message=message)


def _failed(page: Page, code: str, message: str, *, cost_cents: int = 0, ends_run: bool = False) -> PageCompleted:
    return PageCompleted(
        **_about(page),
        status="failed",
        cost_cents=cost_cents,
        ends_run=ends_run,
        error_code=code,
        error_message=message or code,
    )


def _about(page: Page) -> dict[str, Any]:
    return {"run_id": page.run_id, "page_id": page.id, "attempt": page.attempt}


def grace_period() -> float:
    """Return the seconds for which a marketplace may still charge a call that failed."""
    return settings().marketplace_settle


EFFECT = Effect(
    queue=QUEUE,
    limits=limits,
    prepare=prepare,
    recheck=recheck,
    call=buy_page,
    call_key=page_ids.call_key,
    close=close,
    ask=lookup.ask,
    open_=dead_pages.open_pages,
    discard=dead_pages.discard,
    grace_period=grace_period,
    batch_size=8,  # a claim reserves no more pages than one delivery buys at once
    result=PageCompleted,
)
