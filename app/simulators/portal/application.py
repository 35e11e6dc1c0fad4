"""The portal's HTTP contract.

    POST /login          {username, password} → {session, expires_in}; 401
    POST /orders         a form, with `Authorization: Bearer <session>` → 201; 401, 422, 429, 5xx, or no answer
    GET  /orders         ?reference=a&reference=b → {orders: [...]}; 401
    GET  /record         the simulator's own counters
    GET  /record/orders  every accepted order, one JSON object a line
    PUT  /behaviour      change the given settings, from the next call on

Every endpoint runs on the event loop, so that the record needs no lock.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, assert_never, cast

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError

from app.simulators import serving
from app.simulators.portal.behaviour import Behaviour, Director, Fate, OrderForm
from app.simulators.portal.record import Entry, Record
from app.simulators.portal.sessions import Sessions

_LOOP_TURNS_TO_NOTICE_A_DEPARTURE = 8


class Desk(serving.Desk[Behaviour]):
    """One portal's state."""

    def __init__(self, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        super().__init__(behaviour, clock)
        self.record = Record()
        self.sessions = Sessions()
        self.director = Director()


def create_portal(behaviour: Behaviour, *, clock: Callable[[], float] = time.time) -> FastAPI:
    """Create a portal with an empty record. Its `Desk` is `app.state.desk`."""
    app = FastAPI(title="Carrier portal (simulated)", openapi_url=None)
    app.state.desk = Desk(behaviour, clock)
    app.include_router(_customers, dependencies=[Depends(_opening_hours)])
    app.include_router(_watchers)
    app.add_exception_handler(RequestValidationError, _refuse_form)
    return app


async def _desk(request: Request) -> Desk:  # a coroutine, because FastAPI runs a plain function in a thread
    return cast("Desk", request.app.state.desk)


TheDesk = Annotated[Desk, Depends(_desk)]


async def _opening_hours(desk: TheDesk) -> None:
    if desk.behaviour.is_down:
        raise HTTPException(503, "the portal is down for maintenance", _retry_after(desk))


def _retry_after(desk: Desk) -> dict[str, str] | None:
    seconds = desk.behaviour.retry_after_s
    return None if seconds is None else {"Retry-After": str(seconds)}


async def _account(desk: TheDesk, authorization: Annotated[str, Header()] = "") -> str:
    account = desk.sessions.use(authorization.removeprefix("Bearer "), desk.clock(), desk.behaviour)
    if account is None:
        raise HTTPException(401, "the session is unknown or expired")
    return account


Account = Annotated[str, Depends(_account)]
_customers = APIRouter()
_watchers = APIRouter()


class Login(BaseModel):
    """A customer's credentials."""

    username: str
    password: str


@_customers.post("/login")
async def log_in(login: Login, desk: TheDesk) -> dict[str, Any]:
    """Open a session."""
    await desk.work(desk.behaviour.latency_ms / 1000)
    known = desk.behaviour.accounts.get(login.username)
    if known is None or not secrets.compare_digest(known.encode(), login.password.encode()):
        desk.record.wrong_logins += 1
        raise HTTPException(401, "username or password is wrong")
    desk.record.logins += 1
    session = desk.sessions.open(login.username, desk.clock())
    return {"session": session, "expires_in": desk.behaviour.session_lifetime_s}


@_customers.post("/orders")
async def enter_order(form: OrderForm, account: Account, desk: TheDesk, request: Request) -> Response:
    """Enter one order. References are not deduplicated."""
    began = desk.clock()
    desk.record.traceparents += request.headers.getlist("traceparent")
    # A caller that abandoned one call and makes the next has one in progress, not two: let the loop process
    # disconnects that have already happened before counting.
    for _ in range(_LOOP_TURNS_TO_NOTICE_A_DEPARTURE):
        await asyncio.sleep(0)
    with desk.record.in_progress(account) as at_once:
        if desk.behaviour.max_sessions is not None and at_once > desk.behaviour.max_sessions:
            desk.record.busy += 1
            raise HTTPException(429, "too many sessions at once", _retry_after(desk))
        fate = desk.director.fate(desk.behaviour, form)
        await desk.work(fate.delay)
        return await _carry_out(fate, form, account, desk, request, began)


async def _carry_out(fate: Fate, form: OrderForm, account: str, desk: Desk, request: Request, began: float) -> Response:
    record = desk.record
    match fate.then:
        case "accept":
            return JSONResponse(record.accept(account, form, desk.clock(), began).answer(), 201)
        case "refuse":
            record.refused += 1
            raise HTTPException(422, fate.message)
        case "error":
            record.errors += 1
            raise HTTPException(500, "something went wrong")
        case "timeout":
            record.timeouts += 1
            await desk.hold(request)
            raise HTTPException(504, "the portal took too long")
        case "lost":
            record.lost += 1
            record.accept(account, form, desk.clock(), began)
            if desk.behaviour.lost_answer == "hold":
                await desk.hold(request)
            raise HTTPException(502, "no answer from behind")
        case "garble":
            record.accept(account, form, desk.clock(), began)
            return HTMLResponse("<p>Gracias</p>", 201)
        case "flood":
            record.accept(account, form, desk.clock(), began)
            return StreamingResponse(desk.flood(record.flood), 201, media_type="application/json")
        case "drip":
            record.timeouts += 1
            return StreamingResponse(desk.drops(), 201, media_type="application/json")
        case _:
            assert_never(fate.then)


@_customers.get("/orders")
async def find_orders(
    account: Account, desk: TheDesk, reference: Annotated[list[str] | None, Query()] = None
) -> dict[str, list[dict[str, str]]]:
    """Return the account's accepted orders with these references, without calls in progress."""
    await desk.work(desk.behaviour.latency_ms / 1000)
    return {"orders": [entry.answer() for entry in desk.record.find(account, reference or [])]}


@_watchers.get("/record")
async def read_record(desk: TheDesk) -> JSONResponse:
    """Return the counters."""
    return JSONResponse(desk.record.summary().model_dump())


@_watchers.get("/record/orders")
async def read_accepted_orders(desk: TheDesk) -> StreamingResponse:
    """Return every accepted order, one JSON object a line."""
    return StreamingResponse(_lines(desk.record.entries[:]), media_type="application/x-ndjson")


@_watchers.put("/behaviour")
async def change_behaviour(changes: dict[str, Any], desk: TheDesk) -> JSONResponse:
    """Change the given settings. Returns all settings but the passwords."""
    try:
        desk.behaviour = desk.behaviour.changed(**changes)
    except ValidationError as error:
        raise HTTPException(422, _first_problem(error.errors())) from None
    return JSONResponse(desk.behaviour.model_dump(mode="json", exclude={"accounts"}))


async def _refuse_form(request: Request, error: Exception) -> JSONResponse:
    if request.url.path == "/orders":
        (await _desk(request)).record.refused += 1
    return JSONResponse({"detail": _first_problem(cast("RequestValidationError", error).errors())}, 422)


def _first_problem(problems: Any) -> str:
    first = problems[0]
    return f"{'.'.join(str(part) for part in first['loc'] if part != 'body')}: {first['msg']}"


async def _lines(entries: list[Entry]) -> AsyncIterator[str]:
    for entry in entries:
        yield json.dumps(entry.whole()) + "\n"
