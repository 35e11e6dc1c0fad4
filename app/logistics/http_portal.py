"""A carrier's portal over HTTP: sessions, calls, and the reading of answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from app.logistics.gateway import (
    Accepted,
    Account,
    Check,
    LoginRefused,
    OrderForm,
    OrderRefused,
    PortalBusy,
    PortalError,
    PortalProtocolError,
    PortalTimeout,
    PortalUnavailable,
)
from app.outgoing import Answer, ConnectionLost, HttpClient, NoAnswer, NotConnected, OutgoingError

_LONGEST_MESSAGE = 500  # characters of a message from the portal
_REFERENCES_A_CALL = 100  # keeps the URL under the 8 KiB that common servers accept
_REFUSAL_LASTS_S = 60.0  # seconds for which refused credentials are not tried again


class _Session(BaseModel):
    session: str = Field(pattern=r"^[\x21-\x7e]{1,4096}$")  # valid as the value of a header


class _Found(BaseModel):
    orders: list[Accepted]


class _Refusal(BaseModel):
    detail: str


def _is_over(door: asyncio.Task[str], refused: str | None) -> bool:
    if not door.done():
        return False
    error = door.exception()
    return door.result() == refused if error is None else not isinstance(error, LoginRefused)


_Kind = TypeVar("_Kind", bound=BaseModel)


class HttpPortal:
    """A portal over HTTP, for one event loop. Logs in once for each account and keeps the session. Call `aclose()`."""

    can_be_asked = True

    def __init__(self) -> None:
        self._client = HttpClient()
        self._doors: dict[object, asyncio.Task[str]] = {}  # logins in progress, and their sessions

    async def enter(self, account: Account, form: OrderForm, before: Check | None = None) -> Accepted:
        """Enter one order. Raises a `PortalError`, or any error of `before`."""
        content = form.model_dump(mode="json")
        answer = await self._ask(account, "POST", "/orders", before=before, json=content)
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise OrderRefused(_reason(answer), maybe_entered=False)
        if answer.status != HTTPStatus.CREATED:
            raise _failure(answer, enters=True)
        accepted = _read(Accepted, answer, enters=True)
        if accepted.reference != form.reference:
            raise PortalProtocolError("the portal answered for another order", maybe_entered=True)
        return accepted

    async def find(self, account: Account, references: Sequence[str]) -> dict[str, Accepted]:
        """Return accepted orders by reference; the oldest if a reference has several. Raises a `PortalError`."""
        found: dict[str, Accepted] = {}
        for start in range(0, len(references), _REFERENCES_A_CALL):
            some = list(references[start : start + _REFERENCES_A_CALL])
            answer = await self._ask(account, "GET", "/orders", params=[("reference", one) for one in some])
            if answer.status != HTTPStatus.OK:
                raise _failure(answer, enters=False)
            for accepted in _read(_Found, answer, enters=False).orders:
                found.setdefault(accepted.reference, accepted)
        return {reference: found[reference] for reference in references if reference in found}

    async def aclose(self) -> None:
        """Close all connections. Logins in progress are cancelled."""
        for door in self._doors.values():
            door.cancel()
        await asyncio.gather(*self._doors.values(), return_exceptions=True)
        await self._client.aclose()

    async def _ask(
        self, account: Account, method: str, path: str, *, before: Check | None = None, **content: Any
    ) -> Answer:
        enters = method == "POST"
        refused = None
        # Try twice, because the first session may have expired. Repeating is safe: a 401 has entered nothing.
        for _ in range(2):
            session = await self._session(account, refused)
            headers = {"Authorization": f"Bearer {session}"}
            if before is not None:
                await before()
            answer = await self._send(account, method, path, enters=enters, headers=headers, **content)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                return answer
            refused = session
        raise PortalUnavailable("the portal refused a session that it had just opened", maybe_entered=False)

    async def _session(self, account: Account, refused: str | None) -> str:
        # All concurrent callers share one login and its failure, so that twenty callers do not try a wrong password
        # twenty times or wait for twenty timeouts in sequence. Changed credentials have another key.
        key = (account.key, account.base_url, account.credentials)
        door = self._doors.get(key)
        if door is None or _is_over(door, refused):
            door = self._doors[key] = asyncio.create_task(self._log_in(account))
        return await asyncio.shield(door)  # a cancelled caller must not cancel the login of the others

    async def _log_in(self, account: Account) -> str:
        who = {"username": account.credentials.username, "password": account.credentials.password.get_secret_value()}
        answer = await self._send(account, "POST", "/login", enters=False, json=who)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # Do not try a wrong password again for a while, or a batch of orders could lock the account.
            key = (account.key, account.base_url, account.credentials)
            asyncio.get_running_loop().call_later(_REFUSAL_LASTS_S, self._doors.pop, key, None)
            raise LoginRefused("the portal refused the username or the password", maybe_entered=False)
        if answer.status != HTTPStatus.OK:
            raise _failure(answer, enters=False)
        return _read(_Session, answer, enters=False).session

    async def _send(self, account: Account, method: str, path: str, *, enters: bool, **content: Any) -> Answer:
        try:
            return await self._client.request(
                method, account.base_url.rstrip("/") + path, timeout=account.timeout, **content
            )
        except OutgoingError as error:
            raise _line_failure(error, enters=enters) from error


def _line_failure(error: OutgoingError, *, enters: bool) -> PortalError:
    """Return the error for a request without an answer. It may have entered an order if it may have been sent."""
    maybe_entered = enters and error.maybe_sent
    match error:
        case NotConnected():
            return PortalUnavailable("no connection to the portal", maybe_entered=maybe_entered)
        case NoAnswer():
            return PortalTimeout("no answer from the portal in time", maybe_entered=maybe_entered)
        case ConnectionLost():
            return PortalUnavailable(str(error), maybe_entered=maybe_entered)
        case _:
            return PortalProtocolError(f"the portal: {error}", maybe_entered=maybe_entered)


def _failure(answer: Answer, *, enters: bool) -> PortalError:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        message = "the account has too many sessions at once"
        return PortalBusy(message, maybe_entered=False, retry_after=answer.retry_after)
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and (seconds := answer.retry_after) is not None:
        message = f"the portal is out of order for {seconds:.0f} s"
        return PortalUnavailable(message, maybe_entered=enters, retry_after=seconds)
    if answer.is_server_error:
        return PortalUnavailable(f"the portal answered {answer.status}", maybe_entered=enters)
    return PortalProtocolError(f"the portal answered {answer.status}, unexpectedly", maybe_entered=enters)


def _read(kind: type[_Kind], answer: Answer, *, enters: bool) -> _Kind:
    try:
        return kind.model_validate_json(answer.body)
    except ValidationError:
        # `from None`, because pydantic's message quotes the answer.
        raise PortalProtocolError("the portal's answer has an unexpected form", maybe_entered=enters) from None


def _reason(answer: Answer) -> str:
    try:
        said = _Refusal.model_validate_json(answer.body).detail
    except ValidationError:
        said = ""
    printable = "".join(letter if letter.isprintable() else " " for letter in said).strip()
    return printable[:_LONGEST_MESSAGE] or "the portal refused the order without a reason"
