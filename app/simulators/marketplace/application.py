"""The marketplace's HTTP contract. Every call has its API key in the header `X-API-Key`.

    GET  /quotes             ?category=a&category=b → {quotes: [{category_id, pages, price_cents}]}; 401, 422
    POST /pages              {reference, category_id, cursor} → {reference, charged_cents, next_cursor, items}
    POST /items              {reference, external_ids} → the same; both: 401, 402, 410, 422, 429, 5xx, or no answer
    GET  /charges            ?reference=a → {pages: [...]}, what the reference was charged for; 401
    GET  /ledger             the simulator's own counters
    GET  /ledger/references  cents by reference
    GET  /ledger/charges     every charge, one JSON object a line
    PUT  /behaviour          change the given settings, from the next call on

A marketplace's name may stand before the path of a customer: `/amazon.de/pages`.

Every endpoint runs on the event loop, so that the ledger needs no lock. They are plain functions of a request, because
this is also the other side of a benchmark: FastAPI's parameters take longer than the rest of a call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from app.simulators.marketplace.behaviour import Behaviour, first_problem
from app.simulators.marketplace.desk import Desk, desk_of
from app.simulators.marketplace.selling import buy_items, buy_page


def create_marketplace(behaviour: Behaviour, *, clock: Callable[[], float] = time.time) -> FastAPI:
    """Create a marketplace with an empty ledger. Its `Desk` is `app.state.desk`."""
    app = FastAPI(title="Marketplace (simulated)", openapi_url=None)
    app.state.desk = Desk(behaviour, clock)
    # Before the customers' paths, because "ledger" could be a marketplace.
    app.add_route("/ledger", read_ledger, methods=["GET"])
    app.add_route("/ledger/references", read_references, methods=["GET"])
    app.add_route("/ledger/charges", read_charges, methods=["GET"])
    app.add_route("/behaviour", change_behaviour, methods=["PUT"])
    for place in ("", "/{marketplace}"):
        app.add_route(f"{place}/pages", buy_page, methods=["POST"])
        app.add_route(f"{place}/items", buy_items, methods=["POST"])
        app.add_route(f"{place}/quotes", quote, methods=["GET"])
        app.add_route(f"{place}/charges", find_charges, methods=["GET"])
    return app


async def quote(request: Request) -> Response:
    """Return the pages and the price of a page of categories."""
    desk = desk_of(request)
    desk.customer(request)
    quotes = []
    for category_id in request.query_params.getlist("category"):
        if (category := desk.behaviour.category(category_id)) is None:
            raise HTTPException(422, f"category: {category_id} is unknown")
        quotes.append({"category_id": category_id, "pages": category.pages, "price_cents": category.price_cents})
    return JSONResponse({"quotes": quotes})


async def find_charges(request: Request) -> Response:
    """Return the account's charges with these references, without calls in progress."""
    desk = desk_of(request)
    account, _ = desk.customer(request)
    await desk.work(desk.behaviour.latency_ms / 1000)
    desk.ledger.questions += 1
    found = [
        charge.answer()
        for reference in request.query_params.getlist("reference")
        for charge in desk.ledger.find(account, reference)
    ]
    return Response(f'{{"pages":[{",".join(found)}]}}', media_type="application/json")


async def read_ledger(request: Request) -> Response:
    """Return the counters."""
    return JSONResponse(desk_of(request).ledger.summary().model_dump())


async def read_references(request: Request) -> Response:
    """Return the charged cents by reference."""
    return JSONResponse(desk_of(request).ledger.by_reference())


async def read_charges(request: Request) -> Response:
    """Return every charge, one JSON object a line."""
    lines = (json.dumps(charge.whole()) + "\n" for charge in desk_of(request).ledger.charges[:])
    return StreamingResponse(lines, media_type="application/x-ndjson")


async def change_behaviour(request: Request) -> Response:
    """Change the given settings. Returns all settings but the API keys."""
    desk = desk_of(request)
    try:
        desk.behaviour = desk.behaviour.changed(**json.loads(await request.body()))
    except ValidationError as error:
        raise HTTPException(422, first_problem(error)) from None
    return JSONResponse(desk.behaviour.model_dump(mode="json", exclude={"api_keys"}))
