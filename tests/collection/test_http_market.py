"""The gateway to a marketplace over HTTP: what is bought, what can be found, and what each failure means."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.collection.gateway import (
    Account,
    KeyRefused,
    MarketBusy,
    MarketError,
    Marketplace,
    MarketProtocolError,
    MarketTimeout,
    MarketUnavailable,
    PageResult,
    RequestRefused,
    SourceEnded,
)
from app.collection.http_market import LARGEST_ANSWER, HttpMarketplace
from app.errors import Permanent, Transient
from app.simulators.marketplace import Category, Rule
from app.simulators.marketplace import Marketplace as Simulated

PATIENCE_S = 0.2
"""The limit of a call that will not be answered."""


@pytest.fixture
def market(marketplace: Simulated) -> Simulated:
    """A marketplace with an empty ledger and default settings."""
    return marketplace


@pytest.fixture
async def gateway() -> AsyncIterator[HttpMarketplace]:
    """The gateway under test."""
    gateway = HttpMarketplace()
    yield gateway
    await gateway.aclose()


@pytest.fixture
def account(market: Simulated) -> Account:
    """An account of the marketplace amazon.de."""
    return Account(uuid4(), f"{market.url}/amazon.de/", SecretStr("demo-key"), timeout=5)


@pytest.fixture
def hasty(account: Account) -> Account:
    """The same account, with a short limit."""
    return replace(account, timeout=PATIENCE_S)


async def failure(gateway: HttpMarketplace, account: Account, category: str = "books") -> MarketError:
    """Buy a page, which must fail within its limits. Returns the error."""
    with pytest.raises(MarketError) as caught:
        async with asyncio.timeout(3):
            await gateway.fetch(account, "r1", category, "")
    return caught.value


async def test_a_page_is_bought_with_its_bill_and_items(
    gateway: HttpMarketplace, account: Account, market: Simulated
) -> None:
    """The result has the bill, the next cursor, and the items as the marketplace spells them, trimmed."""
    result = await gateway.fetch(account, "r1", "books", "")
    page = next(market.catalogue.pages("amazon.de", "books"))
    assert (result.charged_cents, result.next_cursor) == (5, page.next_cursor)
    assert [item.external_id for item in result.items] == [one.spelled_id.strip() for one in page.listings]
    assert [item.data for item in result.items] == [one.data for one in page.listings]
    assert {(item.item_type, item.marketplace) for item in result.items} == {("amazon_product", "amazon.de")}
    assert market.ledger.by_reference() == {"r1": 5}


async def test_the_gateway_is_a_marketplace_that_can_be_asked(gateway: HttpMarketplace) -> None:
    """The HTTP client has the protocol, and its calls in doubt need no person."""
    marketplace: Marketplace = gateway
    assert marketplace.can_be_asked


async def test_a_category_is_walked_by_its_cursors(
    gateway: HttpMarketplace, account: Account, market: Simulated
) -> None:
    """Each page names the next; the last names none."""
    cursor: str | None = ""
    pages: list[PageResult] = []
    while cursor is not None:
        pages.append(await gateway.fetch(account, f"r{len(pages)}", "books", cursor))
        cursor = pages[-1].next_cursor
    assert [len(page.items) for page in pages] == [20, 20, 20]
    assert market.ledger.cents == sum(page.charged_cents for page in pages) == 15


async def test_single_items_are_bought_with_their_errors(
    gateway: HttpMarketplace, account: Account, market: Simulated
) -> None:
    """An item that the marketplace could not get has an error code, and no data."""
    await gateway.fetch(account, "r1", "books", "")
    exact = next(market.catalogue.pages("amazon.de", "books")).listings[0].truth.external_id
    result = await gateway.fetch_items(account, "r2", [exact, "B0UNKNOWN1"])
    good, bad = result.items
    assert (good.error_code, bad.error_code, bad.external_id) == (None, "not_found", "B0UNKNOWN1")
    assert good.data["price"]
    assert bad.data == {}
    assert (result.charged_cents, result.next_cursor) == (2, None)


async def test_quotes_come_in_the_order_asked(gateway: HttpMarketplace, account: Account, market: Simulated) -> None:
    """Pages and price of each category; nothing is charged."""
    names = [f"c{n}" for n in range(60)]
    market.change(categories={name: Category(pages=n, price_cents=n + 1) for n, name in enumerate(names)})
    quotes = await gateway.quote(account, names[::-1])
    assert [(quote.category_id, quote.pages, quote.price_cents) for quote in quotes] == [
        (name, n, n + 1) for n, name in enumerate(names)
    ][::-1]
    assert await gateway.quote(account, []) == []
    assert market.ledger.calls == 0


async def test_what_was_charged_can_be_found(gateway: HttpMarketplace, account: Account, market: Simulated) -> None:
    """References that were charged come with their result, others are left out; asking costs nothing."""
    assert await gateway.find(account, ["r1"]) == {}
    bought = {f"r{n}": await gateway.fetch(account, f"r{n}", f"c{n}", "") for n in range(3)}
    assert await gateway.find(account, ["r2", "r7", "r0"]) == {"r2": bought["r2"], "r0": bought["r0"]}
    assert market.ledger.cents == 15


async def test_of_two_charges_of_a_reference_the_first_counts(
    gateway: HttpMarketplace, account: Account, market: Simulated
) -> None:
    """A marketplace that charged twice is asked for the first bill."""
    market.change(honours_references=False, rules=[Rule(cents=7, times=1)])
    first = await gateway.fetch(account, "r1", "books", "")
    assert (await gateway.fetch(account, "r1", "books", "")).charged_cents == 5
    assert await gateway.find(account, ["r1"]) == {"r1": first}


async def test_a_check_before_the_call_can_prevent_it(
    gateway: HttpMarketplace, account: Account, market: Simulated
) -> None:
    """The check's error comes out as it is, and nothing is asked of the marketplace."""

    async def no() -> None:
        raise LookupError("paused")

    with pytest.raises(LookupError):
        await gateway.fetch(account, "r1", "books", "", no)
    with pytest.raises(LookupError):
        await gateway.fetch_items(account, "r1", ["B000000001"], no)
    assert market.ledger.calls == 0


@pytest.mark.parametrize(
    ("then", "kind", "is_charged"),
    [
        ("hold", MarketTimeout, False),
        ("late", MarketTimeout, True),
        ("error", MarketUnavailable, False),
        ("cut", MarketUnavailable, False),
        ("lost", MarketUnavailable, True),
        ("garble", MarketProtocolError, True),
    ],
)
async def test_after_a_failure_in_doubt_the_marketplace_can_be_asked(
    gateway: HttpMarketplace,
    hasty: Account,
    market: Simulated,
    then: str,
    kind: type[MarketError],
    is_charged: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Where a page may have been charged the error says so, and asking for its reference tells whether it was."""
    account = replace(hasty, timeout=5)
    assert await gateway.find(account, ["r1"]) == {}
    market.change(rules=[{"then": then}])
    error = await failure(gateway, hasty)
    assert type(error) is kind
    assert (error.maybe_charged, error.maybe_called) == (True, True)
    found = await gateway.find(account, ["r1"])
    assert ("r1" in found) == is_charged == bool(market.ledger.cents)


@pytest.mark.parametrize(
    ("then", "kind", "message"),
    [
        ("credit", KeyRefused, "the marketplace refused the API key (402): its account has no credit"),
        ("refuse", RequestRefused, "no more of this"),
        ("end", SourceEnded, "no more of this"),
    ],
)
async def test_a_refusal_is_final_and_free(
    gateway: HttpMarketplace, account: Account, market: Simulated, then: str, kind: type[MarketError], message: str
) -> None:
    """A retry cannot help; nothing was charged; the marketplace's message is made printable and cut to 500."""
    market.change(rules=[{"then": then, "message": "no more\x00of this" + " " * 500 + "never"}])
    error = await failure(gateway, account)
    assert type(error) is kind
    assert isinstance(error, Permanent)
    assert str(error).rstrip() == message
    assert not error.maybe_charged
    assert market.ledger.cents == 0


@pytest.mark.parametrize("key", ["wrong", "", "two\nlines", "clé"])
async def test_a_wrong_key_is_final(gateway: HttpMarketplace, account: Account, market: Simulated, key: str) -> None:
    """A key that the marketplace does not know, and one that no header can hold, buy and find nothing."""
    wrong = replace(account, api_key=SecretStr(key))
    error = await failure(gateway, wrong)
    assert isinstance(error, KeyRefused)
    assert isinstance(error, Permanent)
    assert not error.maybe_charged
    with pytest.raises(KeyRefused):
        await gateway.find(wrong, ["r1"])
    with pytest.raises(KeyRefused):
        await gateway.quote(wrong, ["books"])
    assert market.ledger.calls == 0


@pytest.mark.parametrize(("form", "seconds"), [("seconds", (30, 30)), ("date", (29, 31))])
async def test_a_busy_marketplace_says_when_to_come_back(
    gateway: HttpMarketplace, account: Account, market: Simulated, form: str, seconds: tuple[int, int]
) -> None:
    """Retry-After is obeyed in seconds and as a date; nothing was charged."""
    market.change(calls_a_window=1, window_s=60, retry_after_s=30, retry_after_as=form)
    await gateway.fetch(account, "r0", "books", "")
    error = await failure(gateway, account)
    assert isinstance(error, MarketBusy)
    assert isinstance(error, Transient)
    assert not error.maybe_charged
    assert error.retry_after is not None
    assert seconds[0] <= error.retry_after <= seconds[1]


async def test_a_busy_marketplace_may_not_say_when(
    gateway: HttpMarketplace, account: Account, market: Simulated
) -> None:
    """Without Retry-After the retry policy decides."""
    market.change(rules=[Rule(then="busy")])
    error = await failure(gateway, account)
    assert isinstance(error, MarketBusy)
    assert error.retry_after is None


async def test_maintenance_is_transient(gateway: HttpMarketplace, account: Account, market: Simulated) -> None:
    """503 is worth another try after its time; a page in doubt stays so; quotes and questions were never charged."""
    market.change(is_down=True, retry_after_s=60)
    error = await failure(gateway, account)
    assert isinstance(error, MarketUnavailable)
    assert (error.retry_after, error.maybe_charged) == (60, True)
    for free in (gateway.find(account, ["r1"]), gateway.quote(account, ["books"])):
        with pytest.raises(MarketUnavailable) as caught:
            await free
        assert not caught.value.maybe_charged


@pytest.mark.parametrize(
    ("status", "kind", "maybe_charged"),
    [
        (408, MarketUnavailable, True),
        (403, KeyRefused, False),
        (504, MarketUnavailable, True),
        (302, MarketProtocolError, True),
        (201, MarketProtocolError, True),
        (409, MarketProtocolError, True),
    ],
)
async def test_other_statuses(
    gateway: HttpMarketplace,
    account: Account,
    status: int,
    kind: type[MarketError],
    maybe_charged: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Every status has an error; only where it rules a charge out does the error say so."""
    with _answering("{}", status) as address:
        error = await failure(gateway, replace(account, base_url=address))
    assert (type(error), error.maybe_charged) == (kind, maybe_charged)


async def test_nobody_there_means_nothing_charged(gateway: HttpMarketplace, account: Account) -> None:
    """Without a connection it is certain that nothing was charged, and worth another try."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    error = await failure(gateway, replace(account, base_url=address))
    assert isinstance(error, MarketUnavailable)
    assert not error.maybe_charged


@pytest.mark.parametrize("address", ["", "market.example", "ftp://127.0.0.1", "http://127.0.0.1:x"])
async def test_what_is_no_address_is_final(gateway: HttpMarketplace, account: Account, address: str) -> None:
    """An address that cannot be called is permanent, and nothing was charged."""
    error = await failure(gateway, replace(account, base_url=address))
    assert isinstance(error, MarketProtocolError)
    assert not error.maybe_charged


async def test_what_is_no_marketplace_is_final(gateway: HttpMarketplace, account: Account, market: Simulated) -> None:
    """An answer that no marketplace gives is permanent."""
    error = await failure(gateway, replace(account, base_url=f"{market.url}/nowhere/else"))
    assert str(error) == "the marketplace answered 404, unexpectedly"
    assert isinstance(error, Permanent)


async def test_an_answer_without_end_is_not_read(gateway: HttpMarketplace, account: Account, market: Simulated) -> None:
    """Only so much of it is read; the page may have been charged."""
    market.change(rules=[Rule(then="flood")])
    error = await failure(gateway, account)
    assert isinstance(error, MarketProtocolError)
    assert str(error) == f"the marketplace: the answer is larger than {LARGEST_ANSWER} bytes"
    assert error.maybe_charged
    assert list(await gateway.find(account, ["r1"])) == ["r1"]


async def test_an_unreadable_page_still_names_its_bill(
    gateway: HttpMarketplace, account: Account, market: Simulated
) -> None:
    """A bad field is named by its place; the bill is told if that part was readable, so that no cent is hidden."""
    market.change(rules=[Rule(then="spoil", cents=9)])
    error = await failure(gateway, account)
    assert isinstance(error, MarketProtocolError)
    assert str(error) == "the marketplace's answer has an unexpected form: items.0.item_type (missing)"
    assert error.charged_cents == market.ledger.cents == 9
    market.change(rules=[Rule(then="garble")])
    error = await failure(gateway, account, "games")
    assert isinstance(error, MarketProtocolError)
    assert error.charged_cents is None


def _page(**changes: Any) -> dict[str, Any]:
    item = {"item_type": "amazon_product", "external_id": "B000000001", "marketplace": "amazon.de", "data": {}}
    return {"reference": "r1", "charged_cents": 5, "next_cursor": None, "items": [item | changes.pop("item", {})]} | (
        changes
    )


@pytest.mark.parametrize(
    ("page", "where"),
    [
        (_page(charged_cents=-1), "charged_cents"),
        (_page(charged_cents="5"), "charged_cents"),
        (_page(charged_cents=5.0), "charged_cents"),
        (_page(charged_cents=True), "charged_cents"),
        (_page(charged_cents=100_000_001), "charged_cents"),
        (_page(next_cursor=""), "next_cursor"),
        (_page(next_cursor="x" * 501), "next_cursor"),
        (_page(next_cursor="a\x00"), "next_cursor"),
        (_page(items=None), "items"),
        (_page(items=[_page()["items"][0]] * 501), "items"),
        (_page(item={"item_type": "car"}), "items.0.item_type"),
        (_page(item={"external_id": " \t"}), "items.0.external_id"),
        (_page(item={"external_id": "x" * 201}), "items.0.external_id"),
        (_page(item={"external_id": "a\nb"}), "items.0.external_id"),
        (_page(item={"marketplace": ""}), "items.0.marketplace"),
        (_page(item={"error_code": "not found!"}), "items.0.error_code"),
        (_page(item={"data": []}), "items.0.data"),
        (_page(item={"data": {"secret-title": "a\x00b"}}), "items.0.data"),
        (_page(item={"data": {"secret\x00": 1}}), "items.0.data"),
        (_page(item={"data": {"a": [{"b": "\\u0000"}]}}), "items.0.data"),
        (_page(item={"data": {"a": float("nan")}}), "items.0.data"),
        (_page(item={"data": {"a": float("inf")}}), "items.0.data"),
        (_page(item={"data": {"a": "secret" * 3_000}}), "items.0.data"),
        (_page(item={"data": {"a": [1] * 1_000}}), "items.0.data"),
        (_page(item={"data": {"a": 10**18}}), "items.0.data"),
        ({"secret": "x"}, "charged_cents"),
        ([], "the whole"),
    ],
)
async def test_a_bad_field_is_named_without_its_content(
    gateway: HttpMarketplace, account: Account, page: Any, where: str
) -> None:
    """Every field of an answer has its bounds; the message has the field's place, and nothing of the answer."""
    with _answering(json.dumps(page)) as address:
        error = await failure(gateway, replace(account, base_url=address))
    assert isinstance(error, MarketProtocolError)
    assert str(error).startswith(f"the marketplace's answer has an unexpected form: {where} (")
    assert "secret" not in "".join(traceback.format_exception(error))
    assert error.maybe_charged


async def test_what_an_answer_has_more_is_left_out(gateway: HttpMarketplace, account: Account) -> None:
    """Fields that are not known are ignored, and texts of errors are made printable: a marketplace may grow."""
    page = _page(item={"error_code": "blocked", "error_message": "a\x00b" * 300, "seen": 1}, version=2)
    with _answering(json.dumps(page)) as address:
        result = await gateway.fetch(replace(account, base_url=address), "r1", "books", "")
    (item,) = result.items
    assert item.error_message == ("a b" * 300)[:500]
    assert not hasattr(item, "seen")


async def test_another_calls_answer_is_refused(gateway: HttpMarketplace, account: Account) -> None:
    """An answer with another reference is no result of this call, and this call may have been charged."""
    with _answering(json.dumps(_page(reference="r2"))) as address:
        error = await failure(gateway, replace(account, base_url=address))
        assert isinstance(error, MarketProtocolError)
        assert error.maybe_charged
    with _answering(json.dumps({"pages": [_page(reference="r2")]})) as address:
        with pytest.raises(MarketProtocolError) as caught:
            await gateway.find(replace(account, base_url=address), ["r1"])
        assert not caught.value.maybe_charged


async def test_quotes_are_asked_for_in_portions(gateway: HttpMarketplace, account: Account) -> None:
    """No URL is longer than servers accept; quotes may come in any order, and with others."""
    names = [f"{n:0190}" for n in range(400)]
    quotes = [{"category_id": name, "pages": n, "price_cents": 1} for n, name in enumerate(names)]
    with _answering(json.dumps({"quotes": quotes[::-1]})) as address:
        found = await gateway.quote(replace(account, base_url=address), names)
    assert [quote.pages for quote in found] == list(range(400))


async def test_a_quote_that_is_missing_is_an_error(gateway: HttpMarketplace, account: Account) -> None:
    """A marketplace that leaves a category out has not answered."""
    quotes = {"quotes": [{"category_id": "a", "pages": 1, "price_cents": 1}]}
    with _answering(json.dumps(quotes)) as address, pytest.raises(MarketProtocolError, match="1 of the categories"):
        await gateway.quote(replace(account, base_url=address), ["a", "b"])


async def test_no_key_and_no_answer_is_said_or_logged(
    gateway: HttpMarketplace, account: Account, market: Simulated, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a key nor an answer stands in an account, an error, its stack trace or a log of any level."""
    caplog.set_level(logging.DEBUG)
    said = [repr(account)]
    keys = ("demo-key", "key-that-is-wrong", "key of\ntwo lines")
    for key in keys:
        said.append(await _trace(gateway, replace(account, api_key=SecretStr(key), base_url="http://127.0.0.1:9")))
        said.append(await _trace(gateway, replace(account, api_key=SecretStr(key)), "bad"))
    market.change(rules=[Rule(then="garble")])
    said.append(await _trace(gateway, account))
    for secret in (*keys, "Thank you"):
        assert not any(secret in text for text in (*said, caplog.text))


async def _trace(gateway: HttpMarketplace, account: Account, category: str = "books") -> str:
    try:
        await gateway.fetch(account, "r1", category, "")
    except MarketError as error:
        return "".join(traceback.format_exception(error))
    return ""


@contextmanager
def _answering(body: str, status: int = 200) -> Iterator[str]:
    """Give every call the same answer. Yields the address."""
    content = body.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
