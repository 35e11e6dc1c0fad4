"""The marketplace's side of a page: the account and the run's state right before a call, and the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakKeyDictionary

from psycopg.rows import class_row

from app.collection import accounts
from app.collection.accounts import SealedAccount
from app.collection.gateway import Account, Marketplace
from app.collection.http_market import HttpMarketplace
from app.context import Connection
from app.engine.domain import Prepared
from app.errors import NotCalled, Permanent, SetupError

# A run that paused because another page did not fit still buys the pages whose prices are reserved. After the cap was
# lowered, it buys none for which the lower cap has no room.
_RECHECK = """
SELECT asked.event_id, p.status = 'processing' AND p.attempt = asked.attempt AS is_awaited,
       (r.status = 'running' OR (r.status = 'paused' AND r.pause_reason = 'budget'))
       AND (p.reserved_cents = 0
            OR r.actual_cost_cents + r.reserved_cost_cents
               <= coalesce(r.cap_override_cents, s.budget_cap_cents, r.budget_cap_cents)) AS may_buy,
       r.org_id, r.marketplace, a.id, a.api_key, a.base_url, coalesce(a.max_calls, 1) AS max_calls,
       coalesce(a.is_enabled, false) AS is_enabled, p.discard_reason
  FROM unnest(%s::uuid[], %s::uuid[], %s::integer[]) AS asked (event_id, page_id, attempt)
  JOIN collection.collection_pages p ON p.id = asked.page_id
  JOIN collection.collection_runs r ON r.id = p.run_id
  LEFT JOIN collection.collection_settings s ON s.org_id = r.org_id
  LEFT JOIN collection.marketplace_accounts a ON (a.org_id, a.marketplace) = (r.org_id, r.marketplace)
"""


@dataclass(frozen=True, slots=True)
class Now:
    """The state right before a call. `may_buy`: the run's state and budget allow it.

    `discard_reason`: why an operator discarded the page's request; None: it was not discarded.
    """

    event_id: UUID
    is_awaited: bool
    may_buy: bool
    org_id: UUID
    marketplace: str
    id: UUID | None
    api_key: str | None = field(repr=False)
    base_url: str | None
    max_calls: int
    is_enabled: bool
    discard_reason: str | None

    @property
    def sealed(self) -> SealedAccount | None:
        """The organisation's account with the marketplace; None if there is none."""
        if self.id is None:
            return None
        login = (self.api_key, self.base_url, self.max_calls, self.is_enabled)
        return SealedAccount(self.id, self.org_id, self.marketplace, *login)


def recheck(connection: Connection, prepared: Sequence[Prepared]) -> dict[UUID, Now]:
    """Return the current state of pages that are about to be bought, by the event's id. Leaves out deleted rows."""
    columns = [
        [one.event.id for one in prepared],
        [one.event.data.page_id for one in prepared],
        [one.event.data.attempt for one in prepared],
    ]
    return {now.event_id: now for now in connection.cursor(row_factory=class_row(Now)).execute(_RECHECK, columns)}


def account(now: Now) -> Account:
    """Return the account with its decrypted API key. Raises `NotCalled` if it cannot be used."""
    sealed = now.sealed
    if sealed is None or not sealed.is_ready:
        raise NotCalled(f"the account with {now.marketplace} is disabled or has no API key or URL")
    try:
        return accounts.unsealed(sealed)
    except (SetupError, Permanent) as error:
        raise NotCalled(str(error)) from error


_markets: WeakKeyDictionary[asyncio.AbstractEventLoop, HttpMarketplace] = WeakKeyDictionary()


def market() -> Marketplace:
    """Return the gateway of the running event loop. All calls share its connections."""
    loop = asyncio.get_running_loop()
    if loop not in _markets:
        _markets[loop] = HttpMarketplace()
    return _markets[loop]


async def close() -> None:
    """Close the gateway of the running event loop."""
    if (gateway := _markets.pop(asyncio.get_running_loop(), None)) is not None:
        await gateway.aclose()
