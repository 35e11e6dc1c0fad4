"""Gateway to a carrier's portal: the interface and its errors. `http_portal` is the HTTP client.

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

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.errors import Permanent, TallymanError, Transient


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
