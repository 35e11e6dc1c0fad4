"""The gateway to a marketplace over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.collection.answers import Bill, Found, Page, PageResult, Quote, Quotes, Refusal, printable
from app.collection.gateway import (
    Account,
    Check,
    KeyRefused,
    MarketBusy,
    MarketError,
    MarketProtocolError,
    MarketTimeout,
    MarketUnavailable,
    RequestRefused,
    SourceEnded,
)
from app.outgoing import Answer, ConnectionLost, HttpClient, NoAnswer, NotConnected, OutgoingError

LARGEST_ANSWER = 128 * 1024
"""Most bytes of an answer. A page's result and what is read in it must fit into an event, which has at most 256 KiB."""
_CATEGORIES_A_CALL = 20  # keeps the URL under the 8 KiB that common servers accept
_NO_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN})

_Kind = TypeVar("_Kind", bound=BaseModel)


class HttpMarketplace:
    """A marketplace over HTTP. Sends the API key in the header `X-API-Key`. Call `aclose()` in each event loop."""

    can_be_asked = True

    def __init__(self) -> None:
        self._client = HttpClient(largest_answer=LARGEST_ANSWER)

    async def quote(self, account: Account, category_ids: Sequence[str]) -> list[Quote]:
        """Return a quote of each category, in the order asked. Raises a `MarketError`."""
        found: dict[str, Quote] = {}
        for start in range(0, len(category_ids), _CATEGORIES_A_CALL):
            some = category_ids[start : start + _CATEGORIES_A_CALL]
            answer = await self._send(account, "GET", "/quotes", params=[("category", one) for one in some])
            if answer.status != HTTPStatus.OK:
                raise _failure(answer, charges=False)
            found |= {quote.category_id: quote for quote in _read(Quotes, answer, charges=False).quotes}
        if missing := sum(category not in found for category in category_ids):
            raise MarketProtocolError(f"the answer: quotes: {missing} of the categories missing", maybe_charged=False)
        return [found[category] for category in category_ids]

    async def fetch(
        self, account: Account, reference: str, category_id: str, cursor: str, before: Check | None = None
    ) -> PageResult:
        """Buy a page. Raises a `MarketError`, or any error of `before`."""
        return await self._buy(account, "/pages", reference, before, {"category_id": category_id, "cursor": cursor})

    async def fetch_items(
        self, account: Account, reference: str, external_ids: Sequence[str], before: Check | None = None
    ) -> PageResult:
        """Buy single items. Raises a `MarketError`, or any error of `before`."""
        return await self._buy(account, "/items", reference, before, {"external_ids": list(external_ids)})

    async def find(self, account: Account, references: Sequence[str]) -> dict[str, PageResult]:
        """Return what was charged, by reference; the first charge if there are several. Raises a `MarketError`."""
        found: dict[str, PageResult] = {}
        for reference in references:  # one a call, because each answer may be as large as the client allows
            answer = await self._send(account, "GET", "/charges", params=[("reference", reference)])
            if answer.status != HTTPStatus.OK:
                raise _failure(answer, charges=False)
            pages = _read(Found, answer, charges=False).pages
            if any(page.reference != reference for page in pages):
                raise MarketProtocolError("the answer: pages: another reference", maybe_charged=False)
            if pages:
                found[reference] = pages[0].result()
        return found

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._client.aclose()

    async def _buy(
        self, account: Account, path: str, reference: str, before: Check | None, content: dict[str, Any]
    ) -> PageResult:
        if before is not None:
            await before()
        answer = await self._send(account, "POST", path, json={"reference": reference, **content})
        if answer.status != HTTPStatus.OK:
            raise _failure(answer, charges=True)
        page = _read(Page, answer, charges=True)
        if page.reference != reference:
            raise MarketProtocolError("the answer: reference: it is another call's", maybe_charged=True)
        return page.result()

    async def _send(self, account: Account, method: str, path: str, **content: Any) -> Answer:
        key = account.api_key.get_secret_value()
        if not (key.isascii() and key.isprintable()):  # aiohttp's message would quote it
            raise KeyRefused("the API key is not printable ASCII", maybe_charged=False)
        try:
            return await self._client.request(
                method,
                account.base_url.rstrip("/") + path,
                timeout=account.timeout,
                headers={"X-API-Key": key},
                **content,
            )
        except OutgoingError as error:
            raise _line_failure(error, charges=method == "POST") from error


def _line_failure(error: OutgoingError, *, charges: bool) -> MarketError:
    """Return the error for a request without an answer. It may be charged if it may have been sent."""
    maybe_charged = charges and error.maybe_sent
    match error:
        case NotConnected():
            return MarketUnavailable("no connection to the marketplace", maybe_charged=maybe_charged)
        case NoAnswer():
            return MarketTimeout("no answer from the marketplace in time", maybe_charged=maybe_charged)
        case ConnectionLost():
            return MarketUnavailable(str(error), maybe_charged=maybe_charged)
        case _:
            return MarketProtocolError(f"the marketplace: {error}", maybe_charged=maybe_charged)


def _failure(answer: Answer, *, charges: bool) -> MarketError:
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        message = "the account has too many calls"
        return MarketBusy(message, maybe_charged=False, retry_after=answer.retry_after)
    if status in _NO_KEY:
        message = "its account has no credit" if status == HTTPStatus.PAYMENT_REQUIRED else "it is wrong or disabled"
        return KeyRefused(f"the marketplace refused the API key ({status}): {message}", maybe_charged=False)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return RequestRefused(_reason(answer, "the marketplace refused the request"), maybe_charged=False)
    if status == HTTPStatus.GONE:
        return SourceEnded(_reason(answer, "the source cannot go on"), maybe_charged=False)
    if answer.is_server_error or status == HTTPStatus.REQUEST_TIMEOUT:
        seconds = answer.retry_after if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        message = f"the marketplace answered {status}"
        return MarketUnavailable(message, maybe_charged=charges, retry_after=seconds)
    return MarketProtocolError(f"the marketplace answered {status}, unexpectedly", maybe_charged=charges)


def _read(kind: type[_Kind], answer: Answer, *, charges: bool) -> _Kind:
    try:
        return kind.model_validate_json(answer.body)
    except ValidationError as error:
        # Only the first problem's place: pydantic's message quotes the answer. `from None` for the same reason.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = f"the marketplace's answer has an unexpected form: {where} ({first['type']})"
    raise MarketProtocolError(message, maybe_charged=charges, charged_cents=_bill(answer) if charges else None)


def _bill(answer: Answer) -> int | None:
    try:
        return Bill.model_validate_json(answer.body).charged_cents
    except ValidationError:
        return None


def _reason(answer: Answer, otherwise: str) -> str:
    try:
        return printable(Refusal.model_validate_json(answer.body).detail) or otherwise
    except ValidationError:
        return otherwise
