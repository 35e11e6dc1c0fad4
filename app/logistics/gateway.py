"""Gateway to a carrier's portal: the interface, its errors, and the HTTP client.

    PortalError                    has `maybe_entered`: whether the failed call may have entered an order
    ├── PortalTimeout              Transient: connected, but no answer in time
    ├── PortalUnavailable          Transient: 5xx, no connection, a lost connection, a rejected new session
    ├── PortalBusy                 Transient: 429, the account has too many sessions at once
    ├── OrderRefused               Permanent: 422, the portal rejects the order; the message is the portal's
    ├── LoginRefused               Permanent: the credentials are wrong
    └── PortalProtocolError        Permanent: an unreadable or too large answer, or an invalid URL

Error messages never contain a password, a session or the body of an answer. Messages from the portal are made printable
and cut to 500 characters.

A portal does not detect duplicate orders. If `maybe_entered` is true, only `find()` can tell whether the order was
entered. `find()` returns only orders that the portal has finished entering, so wait for a grace period before you ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from app.errors import Permanent, TallymanError, Transient
from app.outgoing import Answer, ConnectionLost, HttpClient, NoAnswer, NotConnected, OutgoingError

_LONGEST_MESSAGE = 500  # characters of a message from the portal
_REFERENCES_A_CALL = 100  # keeps the URL under the 8 KiB that common servers accept
_REFUSAL_LASTS_S = 60.0  # seconds for which refused credentials are not tried again


class PortalError(TallymanError):
    """A call to a portal failed. `maybe_entered`: whether this call may have entered an order."""

    retry_after: float | None = None
    """Seconds to wait before the next call, if the portal asked for that."""

    def __init__(self, message: str, *, maybe_entered: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.maybe_entered = self.maybe_called = maybe_entered
        self.retry_after = retry_after


class PortalTimeout(PortalError, Transient):
    """No answer within the account's time limit."""


class PortalUnavailable(PortalError, Transient):
    """The portal is unavailable or unreachable."""


class PortalBusy(PortalError, Transient):
    """The account has too many sessions at once; nothing was entered."""


class OrderRefused(PortalError, Permanent):
    """The portal rejects the order. The message is the portal's."""


class LoginRefused(PortalError, Permanent):
    """The portal rejects the credentials; nothing was entered."""


class PortalProtocolError(PortalError, Permanent):
    """The answer does not conform to the portal's protocol."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The username and password of an account."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class Account:
    """A workspace's account with a carrier. `key`: id of its configuration. `timeout`: seconds for one call."""

    key: UUID
    base_url: str
    credentials: Credentials
    timeout: float


class OrderForm(BaseModel):
    """An order in the portal's format. Amounts are in cents; the city has the carrier's spelling."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str
    recipient_name: str
    recipient_document: str | None = None
    recipient_phone: str | None = None
    recipient_email: str | None = None
    address: str
    city: str
    units: int
    weight_kg: float
    declared_value_cents: int
    collect_on_delivery_cents: int


Check = Callable[[], Awaitable[None]]
"""A check right before an order is sent, for example that the lease is still held. It raises to prevent the call."""

_Word = Annotated[str, Field(pattern=r"^\P{C}{1,200}$")]  # no control characters: the database takes no NUL


class Accepted(BaseModel):
    """An order that a portal has accepted."""

    model_config = ConfigDict(frozen=True)

    reference: _Word
    tracking_number: _Word
    city: _Word


class Portal(Protocol):
    """A carrier's portal. Every method raises a PortalError and nothing else."""

    @property
    def can_be_asked(self) -> bool:
        """Whether `find()` returns what was entered. If not, an operator must decide about an order in doubt."""

    async def enter(self, account: Account, form: OrderForm, before: Check | None = None) -> Accepted:
        """Enter one order, at most once a call. `before` runs right before the request, and may raise."""

    async def find(self, account: Account, references: Sequence[str]) -> dict[str, Accepted]:
        """Return the account's accepted orders, by reference. References unknown to the portal are left out."""


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
