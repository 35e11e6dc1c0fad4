"""Read the categories of a new run from the command line, and ask the marketplace about those without a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.commands.scope import within_org
from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.collection.gateway import Account
    from app.collection.rules import CategoryPlan


def plan_of(org: str | None, marketplace: str, categories: Sequence[str]) -> list[CategoryPlan]:
    """Return the plan of a run's categories. Asks the marketplace, without a transaction, about those without one."""
    from app.collection.rules import CategoryPlan

    given = [_given(one) for one in categories]
    quoted: dict[str, CategoryPlan] = {}
    if unknown := [name for name, plan in given if plan is None]:
        account = _account(org, marketplace)
        quoted = {
            quote.category_id: CategoryPlan(quote.category_id, quote.pages, quote.price_cents)
            for quote in asyncio.run(_quote(account, unknown))
        }
    return [plan or quoted[name] for name, plan in given]


def _given(text: str) -> tuple[str, CategoryPlan | None]:
    from app.collection.rules import CategoryPlan

    name, colon, numbers = text.rpartition(":")
    if not colon:
        return text, None
    pages, at, cents = numbers.partition("@")
    if not (at and pages.isdecimal() and pages.isascii() and cents.isdecimal() and cents.isascii()):
        raise InvalidInput(f"category: {text!r} is not ID or ID:PAGES@CENTS, e.g. toys:12@5")
    return name, CategoryPlan(name, int(pages), int(cents))


def _account(org: str | None, marketplace: str) -> Account:
    from app.collection import accounts

    with within_org(org) as context:
        shown = accounts.show_account(context, marketplace)
        key = (context.tenant_id, shown.marketplace)
        sealed = accounts.sealed_accounts(context.connection, [key])[key]
    if not sealed.is_ready:
        raise InvalidInput(
            f"marketplace: the account with {marketplace} is disabled; `marketplaces enable {marketplace}`"
        )
    return accounts.unsealed(sealed)


async def _quote(account: Account, category_ids: Sequence[str]) -> list[Any]:
    from app.collection.http_market import HttpMarketplace

    gateway = HttpMarketplace()
    try:
        return list(await gateway.quote(account, category_ids))
    finally:
        await gateway.aclose()
