"""The simulated portal: its behaviour follows its settings, and its record is complete."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from app.simulators.portal import Behaviour, Portal, Rule, serve
from app.simulators.portal.__main__ import program
from tests.helpers.children import child, read_line

ROOT = Path(__file__).parents[2]
PATIENCE_S = 0.2
"""How long a customer waits for an answer that will not come."""


class Customer:
    """A customer with a session, over real HTTP."""

    def __init__(self, url: str) -> None:
        headers = {"Content-Type": "application/json"}
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=5, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def log_in(self, username: str = "demo", password: str = "demo-password") -> httpx.Response:
        """Log in, and use the session from now on."""
        answer = await self.http.post("/login", json={"username": username, "password": password})
        if answer.is_success:
            self.http.headers["Authorization"] = f"Bearer {answer.json()['session']}"
        return answer

    async def enter(self, reference: str = "r1", timeout: float = 5, **fields: Any) -> httpx.Response:  # noqa: ASYNC109 - httpx's time-out
        """Enter an order. By default each reference is a different order."""
        return await self.http.post("/orders", content=_order(reference, **fields), timeout=timeout)

    async def find(self, *references: str) -> list[dict[str, str]]:
        """Look orders up."""
        answer = await self.http.get("/orders", params={"reference": list(references)})
        found: list[dict[str, str]] = answer.json()["orders"]
        return found


@pytest.fixture(scope="module")
def running_portal() -> Iterator[Portal]:
    """One portal for all tests of the module."""
    with serve() as portal:
        yield portal


@pytest.fixture
def portal(running_portal: Portal) -> Portal:
    """A portal without entries."""
    running_portal.start_over()
    return running_portal


@pytest.fixture
async def customer(portal: Portal) -> AsyncIterator[Customer]:
    """A customer who is logged in."""
    async with Customer(portal.url) as customer:
        await customer.log_in()
        yield customer


@pytest.fixture
async def visitor(portal: Portal) -> AsyncIterator[Customer]:
    """A customer who is not logged in."""
    async with Customer(portal.url) as visitor:
        yield visitor


async def test_login_needs_the_right_password(portal: Portal, visitor: Customer) -> None:
    """A session is opened and counted only then."""
    assert (await visitor.log_in("demo", "wrong")).status_code == 401
    assert (await visitor.log_in("nobody", "demo-password")).status_code == 401
    answer = await visitor.log_in()
    assert (answer.status_code, answer.json()["expires_in"]) == (200, 3600)
    assert (portal.record.logins, portal.record.wrong_logins) == (1, 2)


async def test_orders_need_a_session(portal: Portal, visitor: Customer) -> None:
    """To enter them and to look them up."""
    assert (await visitor.enter()).status_code == 401
    assert (await visitor.http.get("/orders", params={"reference": "r1"})).status_code == 401
    assert not portal.record.entries


async def test_an_accepted_order_is_on_record(portal: Portal, customer: Customer) -> None:
    """The answer, the lookup and the record have the same order."""
    answer = await customer.enter("r1")
    assert answer.status_code == 201
    number = answer.json()["tracking_number"]
    assert await customer.find("r1", "r2") == [answer.json()]
    lines = (await customer.http.get("/record/orders")).text.splitlines()
    assert [json.loads(line)["tracking_number"] for line in lines] == [number]
    assert json.loads(lines[0])["recipient_document"] == "document of r1"
    assert [entry.tracking_number for entry in portal.record.entries] == [number]


async def test_a_reference_is_not_recognised(customer: Customer) -> None:
    """The same reference is accepted twice. The record has both entries under it."""
    first, second, _ = [await customer.enter("r1") for _ in range(3)]
    await customer.enter("r2")
    assert first.json()["tracking_number"] != second.json()["tracking_number"]
    record = (await customer.http.get("/record")).json()
    assert (record["accepted"], record["references"], record["duplicates"]) == (4, 2, ["r1"])


async def test_accounts_do_not_see_each_other(portal: Portal, customer: Customer, visitor: Customer) -> None:
    """An account finds its own orders only."""
    portal.change(accounts={"other": "secret"})
    await visitor.log_in("other", "secret")
    await customer.enter("r1")
    assert await visitor.find("r1") == []


async def test_a_bad_form_is_refused_with_a_reason(portal: Portal, customer: Customer) -> None:
    """A bad field, or an unknown city."""
    portal.change(cities=["CALI (VALLE)"])
    unknown_city = await customer.enter("r1")
    no_units = await customer.enter("r2", units=0, city="CALI (VALLE)")
    assert (unknown_city.status_code, no_units.status_code) == (422, 422)
    assert unknown_city.json()["detail"] == "city 'BOGOTA (C/MARCA)' is not known"
    assert no_units.json()["detail"].startswith("units: ")
    assert (await customer.enter("r3", city="CALI (VALLE)")).status_code == 201
    assert (portal.record.refused, len(portal.record.entries)) == (2, 1)


async def test_a_rule_refuses_matching_orders(portal: Portal, customer: Customer) -> None:
    """Those whose field contains its text."""
    portal.change(rules=[Rule(field="recipient_name", contains="REFUSE", then="refuse", message="not to her")])
    refused = await customer.enter("r1", recipient_name="Ana REFUSE")
    assert (refused.status_code, refused.json()) == (422, {"detail": "not to her"})
    assert (await customer.enter("r2", recipient_name="Ana")).status_code == 201


async def test_a_rule_counts_tries_of_an_order_not_of_a_reference(portal: Portal, customer: Customer) -> None:
    """`times: 1` applies once to every order. A new reference is no new order."""
    portal.change(rules=[Rule(field="address", contains="SLOW", then="error", times=1)])
    documents = ["1", "2", "1", "2"]
    answers = [
        await customer.enter(f"r{n}", address="SLOW street", recipient_document=document)
        for n, document in enumerate(documents)
    ]
    assert [answer.status_code for answer in answers] == [500, 500, 201, 201]


async def test_a_timeout_holds_the_answer_and_accepts_nothing(portal: Portal, customer: Customer) -> None:
    """Once the rule is used up, the order is accepted."""
    portal.change(rules=[Rule(field="address", contains="SLOW", then="timeout", times=1)])
    with pytest.raises(httpx.ReadTimeout):
        await customer.enter("r1", PATIENCE_S, address="SLOW street")
    assert (portal.record.timeouts, len(portal.record.entries)) == (1, 0)
    assert (await customer.enter("r1", address="SLOW street")).status_code == 201


async def test_a_dripping_answer_never_ends(portal: Portal, customer: Customer) -> None:
    """It outlasts any single read, is not accepted, and ends with its caller."""
    portal.change(rules=[Rule(field="address", contains="DRIP", then="drip")])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * PATIENCE_S):
            await customer.enter("r1", PATIENCE_S, address="DRIP street")
    assert (portal.record.timeouts, len(portal.record.entries)) == (1, 0)


async def test_a_lost_answer_is_accepted(portal: Portal, customer: Customer) -> None:
    """The order is on record, whether the caller got an error or no answer."""
    portal.change(lost_answer_rate=1)
    assert (await customer.enter("r1")).status_code == 502
    portal.change(lost_answer="hold")
    with pytest.raises(httpx.ReadTimeout):
        await customer.enter("r2", PATIENCE_S)
    assert [order["reference"] for order in await customer.find("r1", "r2")] == ["r1", "r2"]
    assert portal.record.lost == 2


async def test_an_order_is_entered_though_its_caller_left(portal: Portal, customer: Customer) -> None:
    """A slow portal finishes it."""
    portal.change(latency_ms=60)
    with pytest.raises(httpx.ReadTimeout):
        await customer.enter("r1", timeout=0.03)
    assert [order["reference"] for order in await customer.find("r1")] == ["r1"]


async def test_a_seed_makes_the_rates_repeatable(portal: Portal) -> None:
    """Each order has the same outcome in any order of calls, at about the given rate."""
    behaviour = Behaviour(seed=7, error_rate=0.3, lost_answer_rate=0.1)
    forwards, backwards = [f"r{n}" for n in range(60)], [f"r{n}" for n in reversed(range(60))]
    assert (fates := await _fates(portal, behaviour, forwards)) == await _fates(portal, behaviour, backwards)
    assert 8 <= list(fates.values()).count(500) <= 28
    assert list(fates.values()).count(502) > 0


async def test_a_session_ends_by_age_and_by_use() -> None:
    """After its lifetime, and after its number of calls."""
    now = [1_000.0]
    behaviour = Behaviour(session_lifetime_s=60)
    with serve(behaviour, clock=lambda: now[0]) as portal:
        async with Customer(portal.url) as customer:
            await customer.log_in()
            now[0] += 59
            assert (await customer.enter("r1")).status_code == 201
            now[0] += 1
            assert (await customer.enter("r2")).status_code == 401
            portal.change(session_uses=1)
            await customer.log_in()
            assert [(await customer.enter(f"u{n}")).status_code for n in range(2)] == [201, 401]


async def test_calls_above_max_sessions_are_refused(portal: Portal, customer: Customer) -> None:
    """The record has the number of concurrent calls."""
    portal.change(max_sessions=2, latency_ms=1000)  # all four come before the first is answered, on a busy machine too
    answers = await asyncio.gather(*(customer.enter(f"r{n}", 20) for n in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429]
    record = portal.record.summary()
    assert (record.busy, record.accepted) == (2, 2)
    assert record.most_at_once > 2


async def test_a_call_ends_with_its_callers_connection(portal: Portal, customer: Customer) -> None:
    """The next call is accepted."""
    portal.change(max_sessions=1, rules=[Rule(field="address", contains="SLOW", then="timeout")])
    with pytest.raises(httpx.ReadTimeout):
        await customer.enter("r1", PATIENCE_S, address="SLOW")
    assert (await customer.enter("r2")).status_code == 201


def test_a_caller_that_left_is_not_counted_however_busy_the_portal_was() -> None:
    """If a departure and the next call arrive together, one call was in progress."""
    busy, free = threading.Event(), threading.Event()

    def clock() -> float:
        busy.set()
        assert free.wait(5)
        return 1_000.0

    free.set()
    with serve(Behaviour(rules=(Rule(field="address", contains="SLOW", then="timeout"),)), clock=clock) as portal:
        leaver, stayer, idler = (HTTPConnection("127.0.0.1", int(portal.url.rpartition(":")[2])) for _ in range(3))
        login = json.dumps({"username": "demo", "password": "demo-password"})
        session = _call(stayer, "POST", "/login", login, {})["session"]
        headers = {"Authorization": f"Bearer {session}", "Content-Type": "application/json"}
        leaver.request("POST", "/orders", _order("r1", address="SLOW"), headers)
        while _call(stayer, "GET", "/record", "", {})["timeouts"] == 0:
            pass
        free.clear()
        busy.clear()
        idler.request("POST", "/login", login, {"Content-Type": "application/json"})
        assert busy.wait(5)
        leaver.close()
        stayer.request("POST", "/orders", _order("r2"), headers)
        free.set()
        assert stayer.getresponse().status == 201
        assert portal.record.most_at_once == 1
        stayer.close()
        idler.close()


async def test_behaviour_changes_while_it_runs(portal: Portal, customer: Customer) -> None:
    """PUT changes the named settings only. A bad one is refused."""
    assert (await customer.http.put("/behaviour", json={"error_rate": 1})).json()["error_rate"] == 1
    assert (await customer.enter()).status_code == 500
    for nonsense in ({"error_rate": 2}, {"speed": 1}, {"error_rate": 0.6, "timeout_rate": 0.6}):
        assert (await customer.http.put("/behaviour", json=nonsense)).status_code == 422
    assert portal.behaviour == Behaviour(error_rate=1)
    with pytest.raises(ValidationError):
        portal.change(error_rate=-1)


async def test_a_portal_that_is_down_still_has_its_record(portal: Portal, customer: Customer) -> None:
    """Every customer's call is answered with 503."""
    portal.change(is_down=True)
    assert (await customer.log_in()).status_code == 503
    assert (await customer.enter()).status_code == 503
    assert (await customer.http.get("/record")).json()["accepted"] == 0


@pytest.mark.parametrize(
    ("held_by", "status"),
    [({"timeout_rate": 1}, 504), ({"latency_ms": 30_000}, 503), ({"lost_answer_rate": 1, "lost_answer": "hold"}, 502)],
)
async def test_a_held_call_does_not_keep_it_from_stopping(held_by: dict[str, Any], status: int) -> None:
    """It is answered, and the portal stops within a second."""
    arrived = threading.Event()

    def clock() -> float:
        arrived.set()
        return 1_000.0

    with ExitStack() as stack:
        portal = stack.enter_context(serve(clock=clock))
        async with Customer(portal.url) as customer:
            await customer.log_in()
            arrived.clear()
            portal.change(**held_by)
            held = asyncio.create_task(customer.enter())
            assert await asyncio.to_thread(arrived.wait, 5)
            began = time.monotonic()
            stack.close()
            assert time.monotonic() - began < 1
            assert (await held).status_code == status


def test_the_program_says_where_it_listens_and_stops_on_sigterm() -> None:
    """One line of JSON. Its flags apply, and SIGTERM ends it with status 0."""
    flags = ["--account", "ana:pass:word", "--max-sessions", "3", "--behaviour", '{"latency_ms": 1, "seed": 3}']
    command = [sys.executable, "-m", "app.simulators.portal", *flags]
    with child(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = json.loads(read_line(process.stdout))["url"]
        answer = httpx.post(f"{url}/login", json={"username": "ana", "password": "pass:word"}, trust_env=False)
        assert answer.status_code == 200
        settings = httpx.put(f"{url}/behaviour", json={}, trust_env=False).json()
        assert (settings["max_sessions"], settings["latency_ms"], settings["seed"]) == (3, 1, 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize("flags", [["--behaviour", '{"speed": 1}'], ["--account", "ana"], ["--error-rate", "2"]])
def test_the_program_refuses_bad_flags(flags: list[str]) -> None:
    """Exit code 2 without a stack trace."""
    result = CliRunner().invoke(program, flags)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


def _order(reference: str, **fields: Any) -> str:
    order = {
        "reference": reference,
        "recipient_name": "Ana Ruiz",
        "recipient_document": f"document of {reference}",
        "recipient_phone": "+573001112233",
        "recipient_email": "ana@example.com",
        "address": "Calle 1 # 2-3",
        "city": "BOGOTA (C/MARCA)",
        "units": 1,
        "weight_kg": 1.5,
        "declared_value_cents": 50_000_00,
        "collect_on_delivery_cents": 0,
    }
    return json.dumps(order | fields)


def _call(line: HTTPConnection, method: str, path: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
    line.request(method, path, body, {"Content-Type": "application/json"} | headers)
    answer: dict[str, Any] = json.loads(line.getresponse().read())
    return answer


async def _fates(portal: Portal, behaviour: Behaviour, references: list[str]) -> dict[str, int]:
    portal.start_over(behaviour)
    async with Customer(portal.url) as customer:
        await customer.log_in()
        answers = await asyncio.gather(*(customer.enter(reference) for reference in references))
    return dict(sorted(zip(references, (answer.status_code for answer in answers), strict=True)))
