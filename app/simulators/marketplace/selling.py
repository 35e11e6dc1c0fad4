"""The calls that cost money: a page, or single items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from pydantic import ValidationError

from app.simulators import serving
from app.simulators.marketplace.behaviour import Fate, Form, first_problem
from app.simulators.marketplace.catalogue import Listing, Page, content
from app.simulators.marketplace.desk import Desk, desk_of
from app.simulators.marketplace.ledger import Charge

_LOOP_TURNS_TO_NOTICE_A_DEPARTURE = 8


async def buy_page(request: Request) -> Response:
    """Sell one page."""
    return await _buy(request, "category_id", _page)


async def buy_items(request: Request) -> Response:
    """Sell single items."""
    return await _buy(request, "external_ids", _items)


_Make = Callable[[Desk, str, Form], tuple[int, Callable[[], str]]]


async def _buy(request: Request, needed: str, make: _Make) -> Response:
    desk = desk_of(request)
    account, marketplace = desk.customer(request)
    form = _form(await request.body(), needed)
    ledger, behaviour = desk.ledger, desk.behaviour
    if behaviour.max_calls is not None:
        # A caller that abandoned one call and makes the next has one in progress, not two: let the loop process
        # disconnects that have already happened before counting.
        for _ in range(_LOOP_TURNS_TO_NOTICE_A_DEPARTURE):
            await asyncio.sleep(0)
    ledger.calls += 1
    with ledger.in_progress(account) as at_once:
        _limit(desk, account, at_once)
        price, write = make(desk, marketplace, form)
        fate = desk.director.fate(behaviour, form, price)
        await desk.work(fate.delay)
        ledger.outcomes[fate.then] += 1
        _refuse(fate, desk)
        if behaviour.honours_references and (before := ledger.find(account, form.reference)):
            ledger.served_again += 1
            return await _answer(fate, before[0], desk, request)
        if fate.then in {"error", "cut", "hold"}:
            return await _fail(fate, desk, request)
        charge = ledger.charge(account, marketplace, form, fate.cents, desk.clock(), write())
        return await _answer(fate, charge, desk, request)


def _limit(desk: Desk, account: str, at_once: int) -> None:
    behaviour = desk.behaviour
    is_full = behaviour.max_calls is not None and at_once > behaviour.max_calls
    if not is_full and behaviour.calls_a_window is not None:
        is_full = not desk.ledger.admit(account, behaviour.calls_a_window, behaviour.window_s, desk.clock())
    if is_full:
        desk.ledger.outcomes["busy"] += 1
        raise HTTPException(429, "too many calls", desk.retry_after())


def _refuse(fate: Fate, desk: Desk) -> None:
    match fate.then:
        case "busy":
            raise HTTPException(429, "too many calls", desk.retry_after())
        case "credit":
            raise HTTPException(402, "the account has no credit")
        case "refuse":
            raise HTTPException(422, fate.message)
        case "end":
            raise HTTPException(410, fate.message)


async def _fail(fate: Fate, desk: Desk, request: Request) -> Response:
    if fate.then == "cut":
        await serving.cut(request)
    elif fate.then == "hold":
        await desk.hold(request)
    raise HTTPException(500, "something went wrong")


async def _answer(fate: Fate, charge: Charge, desk: Desk, request: Request) -> Response:
    match fate.then:
        case "lost" | "cut":
            await serving.cut(request)
        case "late" | "hold":
            await desk.hold(request)
        case "error":
            raise HTTPException(500, "something went wrong")
        case "garble":
            return HTMLResponse("<p>Thank you</p>")
        case "spoil":
            spoilt = charge.answer().replace('"item_type":', '"item_typ":', 1)
            return Response(spoilt, media_type="application/json")
        case "flood":
            return StreamingResponse(desk.flood(desk.ledger.flood), media_type="application/json")
        case "serve" | "busy" | "credit" | "refuse" | "end":
            return Response(charge.answer(), media_type="application/json")
        case _:
            assert_never(fate.then)
    return Response(status_code=504)


def _page(desk: Desk, marketplace: str, form: Form) -> tuple[int, Callable[[], str]]:
    """Return a page's price, and what makes its content. Raises 422."""
    category = desk.behaviour.category(form.category_id)
    if category is None:
        raise HTTPException(422, "category_id: no such category")
    page = desk.catalogue.page(marketplace, form.category_id, form.cursor)
    if page is None:
        raise HTTPException(422, "cursor: no such page")
    return category.price_cents, lambda: _page_content(desk, page)


def _page_content(desk: Desk, page: Page) -> str:
    if not desk.behaviour.item_rules:
        return page.plain
    return content(page.next_cursor, [_item(desk, listing, listing.code) for listing in page.listings])


def _items(desk: Desk, marketplace: str, form: Form) -> tuple[int, Callable[[], str]]:
    """Return the price of single items, and what makes their content. An unknown one is an item error."""
    catalogue = desk.catalogue
    found = [
        catalogue.listing(marketplace, external_id) or catalogue.missing(marketplace, external_id)
        for external_id in form.external_ids
    ]
    price = desk.behaviour.item_price_cents * len(found)
    return price, lambda: content(None, [_item(desk, one, one.code if one.is_lost else None) for one in found])


def _item(desk: Desk, listing: Listing, code: str | None) -> dict[str, Any]:
    if rule := desk.director.item_error(desk.behaviour, listing.truth.external_id):
        return listing.answer(rule.code, rule.message)
    return listing.answer(code)


def _form(body: bytes, needed: str) -> Form:
    try:
        form = Form.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, first_problem(error)) from None
    if not getattr(form, needed):
        raise HTTPException(422, f"{needed}: missing")
    return form
