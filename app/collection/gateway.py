"""Gateway to a marketplace's paid API: the interface and its errors. `http_market` is the one over HTTP.

    MarketError                has `maybe_charged`: whether the failed call may have been charged
    ├── MarketTimeout          Transient: connected, but no answer in time
    ├── MarketUnavailable      Transient: 5xx, no connection, a lost connection
    ├── MarketBusy             Transient: 429, the account has too many calls; nothing was charged
    ├── KeyRefused             Permanent: 401, 402, 403, the API key is wrong or its account has no credit
    ├── RequestRefused         Permanent: 422, e.g. an unknown category; nothing was charged; the message is theirs
    ├── SourceEnded            Permanent: 410, the source cannot go on; nothing was charged; the message is theirs
    └── MarketProtocolError    Permanent: an unreadable or too large answer, or an invalid URL

Error messages never contain an API key or the body of an answer. Messages from a marketplace are made printable and cut
to 500 characters.

A marketplace may charge twice for one reference. If `maybe_charged` is true, only `find()` can tell whether the call
was charged. An answer that cannot be read may still be a bill: see `MarketProtocolError.charged_cents`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from pydantic import SecretStr

from app.collection.answers import PageResult, Quote, RawItem
from app.errors import Permanent, TallymanError, Transient

__all__ = ["Account", "Check", "MarketError", "Marketplace", "PageResult", "Quote", "RawItem"]


class MarketError(TallymanError):
    """A call to a marketplace failed. `maybe_charged`: whether this call may have been charged."""

    retry_after: float | None = None
    """Seconds to wait before the account's next call, if the marketplace asked for that."""

    def __init__(self, message: str, *, maybe_charged: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.maybe_charged = self.maybe_called = maybe_charged
        self.retry_after = retry_after


class MarketTimeout(MarketError, Transient):
    """No answer within the account's time limit."""


class MarketUnavailable(MarketError, Transient):
    """The marketplace is unavailable or unreachable."""


class MarketBusy(MarketError, Transient):
    """The account has too many calls; nothing was charged."""


class KeyRefused(MarketError, Permanent):
    """The marketplace refuses the API key, or its account has no credit; nothing was charged."""


class RequestRefused(MarketError, Permanent):
    """The marketplace rejects the request; nothing was charged. The message is the marketplace's."""


class SourceEnded(MarketError, Permanent):
    """The source cannot go on: no further call of the run can succeed. The message is the marketplace's."""


class MarketProtocolError(MarketError, Permanent):
    """The answer does not conform to the marketplace's protocol. The message names the field.

    `charged_cents`: the bill for this call, if that part of the answer was readable.
    """

    def __init__(self, message: str, *, maybe_charged: bool, charged_cents: int | None = None) -> None:
        super().__init__(message, maybe_charged=maybe_charged)
        self.charged_cents = charged_cents


@dataclass(frozen=True, slots=True)
class Account:
    """An organisation's account with a marketplace. `key`: id of its row. `timeout`: seconds for one call."""

    key: UUID
    base_url: str
    api_key: SecretStr
    timeout: float


Check = Callable[[], Awaitable[None]]
"""A check right before a call that costs money, e.g. that the run still runs. It raises to prevent the call."""


class Marketplace(Protocol):
    """A paid API of products and sellers. Every method raises a `MarketError` and nothing else, except by `before`."""

    @property
    def can_be_asked(self) -> bool:
        """Whether `find()` returns what was charged."""

    async def quote(self, account: Account, category_ids: Sequence[str]) -> list[Quote]:
        """Return the number of pages and the price of a page of each category, in the order asked. Free of charge."""

    async def fetch(
        self, account: Account, reference: str, category_id: str, cursor: str, before: Check | None = None
    ) -> PageResult:
        """Buy a page, at most once a call. `cursor`: empty for the first page. `before` runs right before the call."""

    async def fetch_items(
        self, account: Account, reference: str, external_ids: Sequence[str], before: Check | None = None
    ) -> PageResult:
        """Buy single items, at most once a call. The result has no next cursor."""

    async def find(self, account: Account, references: Sequence[str]) -> dict[str, PageResult]:
        """Return what was charged, by reference. References that were not charged are left out. Free of charge."""
