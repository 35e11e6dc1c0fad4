"""An organisation's accounts with marketplaces: set, show without the API key, enable and disable.

API keys are encrypted before they are stored. Only workers decrypt them, right before a call. Operators call these
functions as `service_role`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row
from pydantic import SecretStr

from app import sealing
from app.collection.gateway import Account
from app.collection.rules import marketplace_name
from app.context import Connection, Context
from app.errors import Conflict, InvalidInput, NotFound, Permanent
from app.outgoing import is_base_url
from app.settings import settings
from events import new_id

AccountKey = tuple[UUID, str]
"""An organisation's id and the name of a marketplace."""

MOST_CALLS = 100


@dataclass(frozen=True, slots=True)
class MarketplaceAccount:
    """An account without its API key, for users. `max_calls`: most concurrent calls, over all workers."""

    id: UUID
    org_id: UUID
    marketplace: str
    has_key: bool
    base_url: str | None
    max_calls: int
    is_enabled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SealedAccount:
    """An account with its encrypted API key, for workers."""

    id: UUID
    org_id: UUID
    marketplace: str
    api_key: str | None = field(repr=False)
    base_url: str | None
    max_calls: int
    is_enabled: bool

    @property
    def is_ready(self) -> bool:
        """Whether a worker may call: the account is enabled and has an API key and a URL."""
        return self.is_enabled and bool(self.api_key and self.base_url)


_COLUMNS = "id, org_id, marketplace, has_key, base_url, max_calls, is_enabled, created_at, updated_at"
_BY_ORG: LiteralString = f"SELECT {_COLUMNS} FROM collection.marketplace_accounts WHERE org_id = %s"  # noqa: S608 - a constant
_SHOW: LiteralString = f"{_BY_ORG} AND marketplace = %s"
_LOCK: LiteralString = f"{_SHOW} FOR UPDATE"
_LIST: LiteralString = f"{_BY_ORG} ORDER BY marketplace"
_ADD = """
INSERT INTO collection.marketplace_accounts (id, org_id, marketplace) VALUES (%s, %s, %s)
    ON CONFLICT (org_id, marketplace) DO NOTHING
"""
_SET = """
UPDATE collection.marketplace_accounts
   SET api_key = coalesce(%(api_key)s, api_key), base_url = coalesce(%(base_url)s, base_url),
       max_calls = coalesce(%(max_calls)s, max_calls)
 WHERE id = %(id)s
"""
_SET_ENABLED = "UPDATE collection.marketplace_accounts SET is_enabled = %s WHERE id = %s"
_SEALED = """
SELECT a.id, a.org_id, a.marketplace, a.api_key, a.base_url, a.max_calls, a.is_enabled
  FROM unnest(%s::uuid[], %s::text[]) AS wanted (org_id, marketplace)
  JOIN collection.marketplace_accounts a USING (org_id, marketplace)
"""


def limit_key(account_id: UUID) -> str:
    """Return the key of the concurrency limit of an account with a marketplace."""
    return f"marketplace/{account_id}"


def set_account(
    context: Context,
    marketplace: str,
    *,
    api_key: SecretStr | None = None,
    base_url: str | None = None,
    max_calls: int | None = None,
) -> MarketplaceAccount:
    """Create or change the organisation's account with a marketplace. Values that are None stay unchanged.

    A new account is disabled until `enable_account`. Raises `InvalidInput` for an invalid value, and `SetupError` if
    there is no key to encrypt the API key. `max_calls`: 1 to 100.
    """
    marketplace = marketplace_name(marketplace)
    _check(api_key, base_url, max_calls)
    with context.connection.transaction():
        # Insert the row first: its id is part of the authenticated data of the encrypted key.
        context.connection.execute(_ADD, [new_id(), context.tenant_id, marketplace])
        row_id = _one(context, _LOCK, marketplace).id
        sealed = api_key and sealing.seal(api_key, context.tenant_id, _sealed_as(marketplace), row_id)
        values = {"id": row_id, "api_key": sealed, "base_url": base_url, "max_calls": max_calls}
        context.connection.execute(_SET, values)
        return show_account(context, marketplace)


def show_account(context: Context, marketplace: str) -> MarketplaceAccount:
    """Return the organisation's account with a marketplace. Raises `NotFound`, which lists the existing accounts."""
    return _one(context, _SHOW, marketplace_name(marketplace))


def list_accounts(context: Context) -> list[MarketplaceAccount]:
    """Return the organisation's accounts, ordered by the marketplace's name."""
    cursor = context.connection.cursor(row_factory=class_row(MarketplaceAccount))
    return cursor.execute(_LIST, [context.tenant_id]).fetchall()


def enable_account(context: Context, marketplace: str) -> MarketplaceAccount:
    """Enable the account for workers. Raises `NotFound`, and `Conflict`, which lists the missing values."""
    with context.connection.transaction():
        found = _one(context, _LOCK, marketplace_name(marketplace))
        wanted = {"api_key": found.has_key, "base_url": found.base_url}
        if missing := [name for name, value in wanted.items() if not value]:
            name, what = found.marketplace, " and no ".join(missing)
            raise Conflict(f"marketplace: the account with {name} has no {what}; `marketplaces set {name}`")
        return _switch(context, found, enabled=True)


def disable_account(context: Context, marketplace: str) -> MarketplaceAccount:
    """Disable the account. Pages that are not charged yet wait until it is enabled. Raises `NotFound`."""
    with context.connection.transaction():
        return _switch(context, _one(context, _LOCK, marketplace_name(marketplace)), enabled=False)


def sealed_accounts(connection: Connection, wanted: Iterable[AccountKey]) -> dict[AccountKey, SealedAccount]:
    """Return accounts of any organisations, for workers, by key. Keys without an account are left out."""
    keys = list(wanted)
    columns = [[org_id for org_id, _ in keys], [marketplace for _, marketplace in keys]]
    found = connection.cursor(row_factory=class_row(SealedAccount)).execute(_SEALED, columns).fetchall()
    return {(one.org_id, one.marketplace): one for one in found}


def unsealed(account: SealedAccount) -> Account:
    """Return an account with its decrypted API key.

    Raises `Permanent` if the account has no API key or no URL, or if the key cannot be decrypted, and `SetupError` if
    the sealing key is missing.
    """
    if not account.api_key or not account.base_url:
        name = account.marketplace
        raise Permanent(f"the account with {name} has no API key or no URL; `marketplaces set {name}`")
    sealed_as = _sealed_as(account.marketplace)
    api_key = sealing.unseal(account.api_key, account.org_id, sealed_as, account.id)
    return Account(account.id, account.base_url, api_key, settings().marketplace_timeout)


def _sealed_as(marketplace: str) -> str:
    # No carrier has such a name, so no carrier's password opens as an API key.
    return f"marketplace:{marketplace}"


def _check(api_key: SecretStr | None, base_url: str | None, max_calls: int | None) -> None:
    key = None if api_key is None else api_key.get_secret_value()
    if key is not None and not (key.strip() == key != "" and key.isascii() and key.isprintable()):
        raise InvalidInput("api_key: must be printable ASCII characters without spaces around them")
    if base_url is not None and not is_base_url(base_url):
        raise InvalidInput("base_url: must be like https://api.example.org, without user, query or fragment")
    if max_calls is not None and not 1 <= max_calls <= MOST_CALLS:
        raise InvalidInput(f"max_calls: must be 1 to {MOST_CALLS}, not {max_calls}")


def _switch(context: Context, account: MarketplaceAccount, *, enabled: bool) -> MarketplaceAccount:
    context.connection.execute(_SET_ENABLED, [enabled, account.id])
    return show_account(context, account.marketplace)


def _one(context: Context, statement: LiteralString, marketplace: str) -> MarketplaceAccount:
    cursor = context.connection.cursor(row_factory=class_row(MarketplaceAccount))
    found = cursor.execute(statement, [context.tenant_id, marketplace]).fetchone()
    if found is None:
        names = ", ".join(one.marketplace for one in list_accounts(context)) or "none yet"
        raise NotFound(
            f"marketplace: {marketplace} is not set up for this organisation; set up: {names};"
            f" `marketplaces set {marketplace}`"
        )
    return found
