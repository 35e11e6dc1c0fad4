"""Checkups of collection, for `doctor`: accounts that cannot be used, and runs that wait for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from app import sealing
from app.collection import accounts
from app.collection.accounts import SealedAccount
from app.engine.health.doctor import CheckContext, Checkup, Finding, Level
from app.errors import Permanent, SetupError


@dataclass(frozen=True, slots=True)
class _Waiting:
    org_id: UUID
    pause_reason: str
    runs: int
    since: datetime


_ACCOUNTS = """
SELECT id, org_id, marketplace, api_key, base_url, max_calls, is_enabled
  FROM collection.marketplace_accounts WHERE is_enabled OR api_key IS NOT NULL ORDER BY org_id, marketplace
"""
_WAITING = """
SELECT org_id, pause_reason, count(*) AS runs, min(paused_at) AS since FROM collection.collection_runs
 WHERE status = 'paused' AND pause_reason IN ('budget', 'overrun', 'credentials')
 GROUP BY 1, 2 ORDER BY 1, 2
"""
_REMEDIES = {
    "budget": "raise the cap of the organisation: `settings set --cap CENTS`",
    "overrun": "compare the prices with the bills, then raise the cap: `settings set --cap CENTS`",
    "credentials": "`marketplaces set` with the right API key, then `runs resume` each run",
}


def _accounts(context: CheckContext) -> Iterator[Finding]:
    """Report enabled accounts without an API key or URL, and API keys that cannot be decrypted."""
    found = context.service.cursor(row_factory=class_row(SealedAccount)).execute(_ACCOUNTS).fetchall()
    for one in found:
        if one.is_enabled and not one.is_ready:
            missing = "API key" if not one.api_key else "URL"
            what = f"organisation {one.org_id}: the enabled account with {one.marketplace} has no {missing}"
            remedy = f"`marketplaces set {one.marketplace}`, or `marketplaces disable {one.marketplace}`"
            yield Finding("problem", "marketplaces", what, remedy)
    sealed = [one for one in found if one.api_key and one.base_url]
    if not sealed:
        return
    try:
        sealing.keyring()
    except SetupError as error:
        what = f"{len(sealed)} sealed API keys and no key: {error}"
        yield Finding("problem", "marketplaces", what, "set TALLYMAN_KEYS")
        return
    for one in sealed:
        try:
            accounts.unsealed(one)
        except (SetupError, Permanent) as error:
            what = f"organisation {one.org_id}: {error}"
            yield Finding(
                "problem", "marketplaces", what, f"add the key, or `marketplaces set {one.marketplace} --key`"
            )


def _runs(context: CheckContext) -> Iterator[Finding]:
    """Report paused runs that do not continue until a person acts."""
    for one in context.service.cursor(row_factory=class_row(_Waiting)).execute(_WAITING):
        level: Level = "warning" if one.pause_reason == "credentials" else "info"
        what = (
            f"organisation {one.org_id}: {one.runs} runs are paused ({one.pause_reason}) since"
            f" {one.since:%Y-%m-%d %H:%M:%S%z}"
        )
        yield Finding(level, "collection runs", what, _REMEDIES[one.pause_reason])


COLLECTION = (
    Checkup("marketplaces", _accounts, "every enabled account has an API key that can be decrypted, and a URL"),
    Checkup("collection runs", _runs, "no run waits for a higher cap or another API key"),
)
