"""A carrier's portal as the robots see it: what can be asked of it, what can go wrong, and the way over HTTP.

    PortalError                    carries `maybe_entered`: whether the call that failed may have entered an order
    ├── PortalTimeout              Transient: connected, but no answer in time
    ├── PortalUnavailable          Transient: 5xx, no connection, a connection lost, a session that does not last
    ├── PortalBusy                 Transient: 429, the account has too many sessions at once
    ├── OrderRefused               Permanent: 422, the portal does not want the order; the message is its own
    ├── LoginRefused               Permanent: the credentials are wrong
    └── PortalProtocolError        Permanent: an answer that is unreadable or too large; no address

No message of these holds a password, a session or the body of an answer; the portal's own words are made printable
and cut to 500 characters.

A portal does not recognise an order that it was given before. Where `maybe_entered` is true only `find()` can tell,
and it knows only what the portal has finished entering: leave it some time before asking.
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

_LONGEST_MESSAGE = 500  # characters of the portal's own words
_REFERENCES_A_CALL = 100  # keeps the URL under the 8 KiB that common servers accept
_REFUSAL_LASTS_S = 60.0  # how long credentials that were refused are not tried again


class PortalError(TallymanError):
    """A call to a portal failed; `maybe_entered` says whether this very call may have entered an order."""

    retry_after: float | None = None
    """Seconds after which the portal said to come back."""

    def __init__(self, message: str, *, maybe_entered: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.maybe_entered = self.maybe_called = maybe_entered
        self.retry_after = retry_after


class PortalTimeout(PortalError, Transient):
    """No answer within the account's limit."""


class PortalUnavailable(PortalError, Transient):
    """The portal is out of order or out of reach."""


class PortalBusy(PortalError, Transient):
    """The account has too many sessions at once; nothing was entered."""


class OrderRefused(PortalError, Permanent):
    """The portal doesn't want the order; the message is the portal's."""


class LoginRefused(PortalError, Permanent):
    """The portal doesn't know the credentials; nothing was entered."""


class PortalProtocolError(PortalError, Permanent):
    """The other side doesn't speak as a portal does."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one logs in with."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class Account:
    """A workspace's account with a carrier: `key` is its configuration's id, `timeout` the seconds of one call."""

    key: UUID
    base_url: str
    credentials: Credentials
    timeout: float


class OrderForm(BaseModel):
    """One order as a portal wants it: amounts in cents, the city in the carrier's own spelling."""

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
"""Something that has its say before an order goes out: that nobody else has it in hand, say."""

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
        """Whether `find()` can tell what was entered; if not, an order in doubt is for a person to decide."""

    async def enter(self, account: Account, form: OrderForm, before: Check | None = None) -> Accepted:
        """Enter one order, at most once a call; `before` has its say right before that, and may raise."""

    async def find(self, account: Account, references: Sequence[str]) -> dict[str, Accepted]:
        """Look the account's accepted orders up; a reference that is missing is unknown to the portal."""


class _Session(BaseModel):
    session: str = Field(pattern=r"^[\x21-\x7e]{1,4096}$")  # else it could not travel in a header


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
    """A portal over HTTP, for one event loop; `aclose()` it. Logs in once an account and keeps the session."""

    can_be_asked = True

    def __init__(self) -> None:
        self._client = HttpClient()
        self._doors: dict[object, asyncio.Task[str]] = {}  # logins under way, and the sessions that came of them

    async def enter(self, account: Account, form: OrderForm, before: Check | None = None) -> Accepted:
        """Enter one order. Raises a PortalError, and what `before` raises."""
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
        """Look orders up, the oldest where a reference has several. Raises a PortalError."""
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
        """Hang up; logins under way are broken off."""
        for door in self._doors.values():
            door.cancel()
        await asyncio.gather(*self._doors.values(), return_exceptions=True)
        await self._client.aclose()

    async def _ask(
        self, account: Account, method: str, path: str, *, before: Check | None = None, **content: Any
    ) -> Answer:
        enters = method == "POST"
        refused = None
        # Twice, for the first session may have expired. Repeating is safe: a 401 has entered nothing.
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
        # One login serves everybody who waits, and its failure is everybody's too: twenty callers must not try a
        # wrong password twenty times, or wait for twenty time-outs in a row. Changed credentials are another key.
        key = (account.key, account.base_url, account.credentials)
        door = self._doors.get(key)
        if door is None or _is_over(door, refused):
            door = self._doors[key] = asyncio.create_task(self._log_in(account))
        return await asyncio.shield(door)  # who is cancelled leaves; the others still want to get in

    async def _log_in(self, account: Account) -> str:
        who = {"username": account.credentials.username, "password": account.credentials.password.get_secret_value()}
        answer = await self._send(account, "POST", "/login", enters=False, json=who)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # A wrong password is not tried again for a while, or a batch of orders would get the account locked.
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
    """What a request without an answer comes to; it may have entered an order if it may have been sent."""
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
        # `from None`: what pydantic says quotes the answer.
        raise PortalProtocolError("the portal's answer is not what it should be", maybe_entered=enters) from None


def _reason(answer: Answer) -> str:
    try:
        said = _Refusal.model_validate_json(answer.body).detail
    except ValidationError:
        said = ""
    printable = "".join(letter if letter.isprintable() else " " for letter in said).strip()
    return printable[:_LONGEST_MESSAGE] or "the portal refused the order and did not say why"
