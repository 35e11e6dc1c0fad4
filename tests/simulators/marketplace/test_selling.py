"""The simulated marketplace keeps its contract, and its ledger is exact to the cent."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from app.simulators.marketplace import Behaviour, Category, ItemRule, Marketplace, Rule, serve
from app.simulators.marketplace.__main__ import program
from tests.helpers.children import child, read_line
from tests.helpers.customers import Customer
from tests.helpers.waits import LIMIT_S

PATIENCE_S = 0.2
"""The limit of a call that will not be answered."""


async def test_a_page_is_charged_and_on_the_ledger(marketplace: Marketplace, customer: Customer) -> None:
    """The answer, the charge and the ledger agree."""
    answer = (await customer.buy("r1")).json()
    assert (answer["reference"], answer["charged_cents"], len(answer["items"])) == ("r1", 5, 20)
    assert await customer.find("r1", "r2") == [answer]
    (charge,) = marketplace.ledger.charges
    assert (charge.account, charge.marketplace, charge.cents) == ("demo", "amazon.com", 5)
    assert marketplace.ledger.by_reference() == {"r1": 5}
    assert (await customer.http.get("/ledger/references")).json() == {"r1": 5}
    (line,) = (await customer.http.get("/ledger/charges")).text.splitlines()
    assert json.loads(line)["reference"] == "r1"
    assert "items" not in json.loads(line)


async def test_quotes_tell_pages_and_price(marketplace: Marketplace, customer: Customer) -> None:
    """A quote is free. An unknown category has none."""
    marketplace.change(categories={"a": Category(pages=7, price_cents=9)}, default_category=None)
    answer = await customer.http.get("/quotes", params={"category": ["a"]})
    assert answer.json() == {"quotes": [{"category_id": "a", "pages": 7, "price_cents": 9}]}
    assert (await customer.http.get("/quotes", params={"category": ["a", "b"]})).status_code == 422
    assert marketplace.ledger.cents == 0


async def test_a_reference_is_charged_once(marketplace: Marketplace, customer: Customer) -> None:
    """A charged reference is served again free of charge, with the same answer."""
    first, second = (await customer.buy("r1")).json(), (await customer.buy("r1")).json()
    assert first == second
    summary = marketplace.ledger.summary()
    assert (summary.charges, summary.cents, summary.served_again, summary.duplicates) == (1, 5, 1, [])


async def test_a_marketplace_that_ignores_references_charges_again(
    marketplace: Marketplace, customer: Customer
) -> None:
    """The ledger names the reference once."""
    marketplace.change(honours_references=False)
    for _ in range(3):
        await customer.buy("r1")
    assert marketplace.ledger.by_reference() == {"r1": 15}
    assert marketplace.ledger.duplicates == ["r1"]
    assert len(await customer.find("r1")) == 3


async def test_a_page_bought_under_two_references_is_counted(marketplace: Marketplace, customer: Customer) -> None:
    """The ledger counts charges for a page that the account had bought before, under any reference."""
    for reference, category in (("r1", "a"), ("r2", "a"), ("r3", "b")):
        await customer.buy(reference, category)
    assert (marketplace.ledger.bought_again, marketplace.ledger.duplicates) == (1, [])


async def test_keys_open_accounts(marketplace: Marketplace, customer: Customer) -> None:
    """A wrong key buys nothing. Two keys may belong to one account. An account finds its own charges only."""
    marketplace.change(api_keys={"demo-key": "demo", "second": "demo", "other": "other"})
    await customer.buy("r1")
    async with Customer(marketplace.url, "wrong") as intruder:
        assert (await intruder.buy("r2")).status_code == 401
    async with Customer(marketplace.url, "second") as same:
        assert len(await same.find("r1")) == 1
    async with Customer(marketplace.url, "other") as other:
        assert await other.find("r1") == []
        await other.buy("r1")
    summary = marketplace.ledger.summary()
    assert (summary.by_account, summary.wrong_keys) == ({"demo": 5, "other": 5}, 1)
    assert summary.duplicates == []


@pytest.mark.parametrize(
    ("then", "status", "is_charged"),
    [
        ("serve", 200, True),
        ("error", 500, False),
        ("busy", 429, False),
        ("credit", 402, False),
        ("refuse", 422, False),
        ("end", 410, False),
        ("garble", 200, True),
        ("spoil", 200, True),
        ("cut", None, False),
        ("hold", None, False),
        ("lost", None, True),
        ("late", None, True),
    ],
)
async def test_a_rule_decides_about_its_pages(
    marketplace: Marketplace,
    customer: Customer,
    then: str,
    status: int | None,
    is_charged: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Each outcome is answered as documented, and charged or not. Other pages are served."""
    marketplace.change(rules=[{"contains": "bad", "then": then, "message": "no more"}])
    try:
        answer = await customer.buy("r1", "bad", timeout=PATIENCE_S)
    except httpx.TransportError:
        assert status is None
    else:
        assert answer.status_code == status
    assert (await customer.buy("r2", "good")).status_code == 200
    assert marketplace.ledger.by_reference() == ({"r1": 5, "r2": 5} if is_charged else {"r2": 5})
    assert len(await customer.find("r1")) == is_charged
    assert marketplace.ledger.outcomes[then] == (2 if then == "serve" else 1)


async def test_an_endless_answer_is_charged(marketplace: Marketplace, customer: Customer) -> None:
    """The answer goes on until the caller leaves, and the page is charged."""
    marketplace.change(rules=[Rule(then="flood")])
    form = {"reference": "r1", "category_id": "a", "cursor": ""}
    async with customer.http.stream("POST", "/pages", json=form) as answer:
        async for _ in answer.aiter_bytes():
            break
    async with asyncio.timeout(LIMIT_S):  # until the server has noticed that the caller left
        while not marketplace.ledger.flooded:
            await customer.http.get("/ledger")
    assert marketplace.ledger.by_reference() == {"r1": 5}


async def test_a_rule_counts_tries_of_a_page(marketplace: Marketplace, customer: Customer) -> None:
    """`times: 1` applies once to every page. A new reference for the same page is no new page."""
    marketplace.change(rules=[Rule(contains="bad", then="error", times=1)])
    tries = [("r1", "bad1"), ("r2", "bad2"), ("r3", "bad1"), ("r4", "bad2")]
    assert [(await customer.buy(*each)).status_code for each in tries] == [500, 500, 200, 200]


async def test_bills_differ_from_the_quote(marketplace: Marketplace, customer: Customer) -> None:
    """A rule sets a page's bill. `bill_percent` varies all bills, each page's always alike."""
    marketplace.change(rules=[Rule(contains="dear", cents=99), Rule(contains="free", cents=0)])
    bills = [(await customer.buy(name, name)).json()["charged_cents"] for name in ("dear", "free", "plain")]
    assert bills == [99, 0, 5]
    marketplace.change(rules=[], bill_percent=(50, 200), default_category=Category(price_cents=100))
    twice = [[(await customer.buy(f"{turn}{n}", f"c{n}")).json()["charged_cents"] for n in range(20)] for turn in "ab"]
    assert twice[0] == twice[1]
    assert min(twice[0]) < 100 < max(twice[0])
    assert all(50 <= bill <= 200 for bill in twice[0])
    assert marketplace.ledger.cents == 104 + 2 * sum(twice[0])


async def test_items_fail_by_code_and_can_be_bought_alone(marketplace: Marketplace, customer: Customer) -> None:
    """`not_found` is permanent. Items with other random codes can be bought alone."""
    marketplace.change(default_category=Category(items=100, item_error_rate=0.5))
    items = (await customer.buy("r1")).json()["items"]
    codes = [item.get("error_code") for item in items]
    assert {"blocked", "timeout", "not_found", None} == set(codes)
    exact = [one.truth.external_id for one in next(iter(marketplace.catalogue.pages("amazon.com", "books"))).listings]
    failed = [one for one, code in zip(exact, codes, strict=True) if code]
    again = (await customer.buy_items("r2", *failed, "B0UNKNOWN1")).json()
    assert again["charged_cents"] == len(failed) + 1
    assert [item.get("error_code") for item in again["items"]] == [
        "not_found" if code == "not_found" else None for code in codes if code
    ] + ["not_found"]


async def test_an_item_rule_spoils_an_item_so_many_times(marketplace: Marketplace, customer: Customer) -> None:
    """An item fails with the rule's code for the first `times` tries, on pages and alone."""
    await customer.buy("r0")
    exact = next(iter(marketplace.catalogue.pages("amazon.com", "books"))).listings[3].truth.external_id
    marketplace.change(item_rules=[ItemRule(contains=exact, code="captcha", message="a robot?", times=2)])
    page = (await customer.buy("r1")).json()["items"]
    assert [number for number, item in enumerate(page) if "error_code" in item] == [3]
    assert (page[3]["error_code"], page[3]["error_message"]) == ("captcha", "a robot?")
    alone = [(await customer.buy_items(f"i{n}", exact)).json()["items"][0].get("error_code") for n in range(2)]
    assert alone == ["captcha", None]


async def test_invalid_orders_are_refused_with_a_reason(marketplace: Marketplace, customer: Customer) -> None:
    """An unknown category or cursor and a form with missing fields cost nothing."""
    marketplace.change(categories={"a": Category()}, default_category=None)
    answers = [
        await customer.buy("r1", "b"),
        await customer.buy("r1", "a", "7"),
        await customer.buy("", "a"),
        await customer.buy("r1", ""),
        await customer.buy_items("r1"),
        await customer.http.post("/pages", content=b"{"),
    ]
    assert [answer.status_code for answer in answers] == [422] * 6
    assert answers[0].json() == {"detail": "category_id: no such category"}
    assert (await customer.buy("r1", "a", place="shop.example")).status_code == 404
    assert marketplace.ledger.cents == 0


async def test_a_seed_makes_the_rates_repeatable(marketplace: Marketplace) -> None:
    """With one seed, a page's outcome does not depend on the order of calls, and failures have about their share."""
    pages = [f"c{n}" for n in range(60)]
    forwards, backwards = await _fates(marketplace, pages), await _fates(marketplace, pages[::-1])
    assert forwards == backwards
    assert 8 <= list(forwards.values()).count("500") <= 28
    assert list(forwards.values()).count("cut") > 0


async def _fates(marketplace: Marketplace, pages: Sequence[str]) -> dict[str, str]:
    marketplace.start_over(Behaviour(seed=7, error_rate=0.3, lost_rate=0.1))
    fates = {}
    async with Customer(marketplace.url) as customer:
        for page in pages:
            try:
                fates[page] = str((await customer.buy(page, page)).status_code)
            except httpx.TransportError:
                fates[page] = "cut"
    return fates


async def test_calls_above_the_limit_are_refused(marketplace: Marketplace, customer: Customer) -> None:
    """At most `max_calls` are in progress at once. The ledger has the number tried."""
    marketplace.change(max_calls=2, latency_ms=1000, retry_after_s=3)  # all come before the first is answered
    answers = await asyncio.gather(*(customer.buy(f"r{n}", timeout=20) for n in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    assert {answer.headers.get("Retry-After") for answer in answers} == {None, "3"}
    assert marketplace.ledger.summary().outcomes == {"serve": 2, "busy": 2}
    assert marketplace.ledger.most_at_once > 2


async def test_calls_in_a_window_are_limited() -> None:
    """By the marketplace's clock. The answer has a date to retry at."""
    now = [1_700_000_000.0]
    behaviour = Behaviour(calls_a_window=2, window_s=10, retry_after_s=7, retry_after_as="date")
    with serve(behaviour, clock=lambda: now[0]) as marketplace:
        async with Customer(marketplace.url) as customer:
            assert [(await customer.buy(f"r{n}")).status_code for n in range(2)] == [200, 200]
            busy = await customer.buy("r3")
            assert busy.status_code == 429
            assert parsedate_to_datetime(busy.headers["Retry-After"]).timestamp() == now[0] + 7
            now[0] += 10
            assert (await customer.buy("r3")).status_code == 200


async def test_a_marketplace_that_is_down_sells_nothing(marketplace: Marketplace, customer: Customer) -> None:
    """During maintenance every call of a customer is answered 503. The ledger stays readable."""
    marketplace.change(is_down=True, retry_after_s=60)
    answer = await customer.buy()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert (await customer.http.get("/quotes", params={"category": "a"})).status_code == 503
    assert (await customer.http.get("/ledger")).json()["cents"] == 0


async def test_a_page_is_charged_though_its_caller_left(marketplace: Marketplace, customer: Customer) -> None:
    """A slow marketplace finishes a page after the caller has given up."""
    marketplace.change(latency_ms=60)
    with pytest.raises(httpx.ReadTimeout):
        await customer.buy("r1", timeout=0.03)
    assert [page["reference"] for page in await customer.find("r1")] == ["r1"]


async def test_behaviour_changes_while_it_runs(marketplace: Marketplace, customer: Customer) -> None:
    """PUT changes the named settings only and refuses unknown ones. Keys are not shown."""
    answer = await customer.http.put("/behaviour", json={"error_rate": 1})
    assert answer.json()["error_rate"] == 1
    assert "api_keys" not in answer.json()
    assert (await customer.buy()).status_code == 500
    nonsense: list[dict[str, Any]] = [
        {"error_rate": 2},
        {"speed": 1},
        {"cut_rate": 0.6},
        {"bill_percent": [2, 1]},
        {"marketplace": "x"},
    ]
    for wrong in nonsense:
        assert (await customer.http.put("/behaviour", json=wrong)).status_code == 422
    assert marketplace.behaviour == Behaviour(error_rate=1)
    with pytest.raises(ValidationError):
        marketplace.change(error_rate=-1)


async def test_a_held_call_does_not_keep_it_from_stopping() -> None:
    """A stopping marketplace answers the calls it holds, and is gone within a second."""
    arrived = threading.Event()

    def clock() -> float:
        arrived.set()
        return 1_000.0

    with ExitStack() as stack:
        marketplace = stack.enter_context(serve(Behaviour(rules=(Rule(then="late"),)), clock=clock))
        async with Customer(marketplace.url) as customer:
            held = asyncio.create_task(customer.buy())
            assert await asyncio.to_thread(arrived.wait, 5)
            began = time.monotonic()
            stack.close()
            assert time.monotonic() - began < 1
            assert (await held).status_code == 504


def test_the_program_prints_its_address_and_stops_on_sigterm() -> None:
    """It prints one line of JSON once it listens, obeys its flags, and exits with 0."""
    flags = ["--account", "ana:key:1", "--max-calls", "3", "--behaviour", '{"latency_ms": 1, "seed": 3}']
    command = [sys.executable, "-m", "app.simulators.marketplace", *flags]
    with child(*command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = json.loads(read_line(process.stdout))["url"]
        http = httpx.Client(base_url=url, trust_env=False)
        settings = http.put("/behaviour", json={}).json()
        assert (settings["max_calls"], settings["latency_ms"], settings["seed"]) == (3, 1, 3)
        form = {"reference": "r1", "category_id": "a"}
        assert http.post("/pages", json=form, headers={"X-API-Key": "key:1"}).status_code == 200
        http.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


@pytest.mark.parametrize("flags", [["--behaviour", '{"speed": 1}'], ["--account", "ana"], ["--error-rate", "2"]])
def test_the_program_refuses_unknown_settings(flags: list[str]) -> None:
    """A wrong flag ends it with exit code 2."""
    assert CliRunner().invoke(program, flags).exit_code == 2
