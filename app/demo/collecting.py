"""The demo of a collection run: it hits its cap, is given more, and completes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from app import database
from app.collection import accounts
from app.collection.progress import RunProgress, progress_of
from app.collection.rules import CategoryPlan
from app.collection.runs import create_run, get_run
from app.collection.settings import set_settings
from app.commands.watching import changes_of
from app.context import Connection, Context
from app.demo import processes
from app.tenancy.orgs import add_member

MARKETPLACE = "amazon.de"
API_KEY = "demo-key"
ACTOR = "demo"
CAP_CENTS, RAISED_CENTS = 60, 150
"""The organisation's cap at first, and after the run has paused at it."""
BEHAVIOUR: dict[str, Any] = {
    "api_keys": {API_KEY: "demo"},
    "categories": {
        "toys": {"pages": 12, "items": 10, "price_cents": 5},
        "books": {"pages": 8, "items": 10, "price_cents": 4},
    },
    "latency_ms": 40,
    "jitter_ms": 20,
    "bill_percent": [100, 120],
    "lost_rate": 0.1,
    "seed": 7,
}
"""The marketplace bills up to a fifth more than quoted, and loses one answer in ten after it has charged."""

Say = Callable[[str], None]


def act(org_id: UUID, say: Say) -> dict[str, Any]:
    """Run a collection under a budget. Workers must be running. Returns the summary for `--json`."""
    with processes.marketplace(BEHAVIOUR) as market:
        say(f"\nMarketplace (simulated): {market.url}")
        run_id = _begin(org_id, market.url, say)
        _watch(org_id, run_id, say, lambda progress: progress.status == "paused")
        with database.connect() as connection:
            set_settings(Context.start(connection, org_id), actor=ACTOR, budget_cap_cents=RAISED_CENTS)
        say(f"  the cap is raised to {RAISED_CENTS} cents: the run continues from its checkpoint")
        last = _watch(org_id, run_id, say, lambda progress: progress.is_over)
        charged = market.ledger()
    summary = {
        "run_id": str(run_id),
        "run_status": last.status,
        "run_items": last.processed_items,
        "run_pages": last.pages,
        "run_cost_cents": last.spent_cents + last.overrun_cents,
        "marketplace_charged_cents": sum(charged.values()),
    }
    say(
        f"\nRun {last.status}: {last.processed_items} items of {last.pages} pages for {summary['run_cost_cents']} cents"
        f"\nThe marketplace's own ledger: {summary['marketplace_charged_cents']} cents for {len(charged)} pages"
    )
    return summary


def _begin(org_id: UUID, url: str, say: Say) -> UUID:
    with database.connect() as connection:
        context = Context.start(connection, org_id)
        user = add_member(connection, org_id, "demo@example.org", "admin")
        accounts.set_account(context, MARKETPLACE, api_key=SecretStr(API_KEY), base_url=f"{url}/{MARKETPLACE}")
        accounts.enable_account(context, MARKETPLACE)
        set_settings(context, actor=ACTOR, budget_cap_cents=CAP_CENTS)
        plan = [CategoryPlan(name, one["pages"], one["price_cents"]) for name, one in BEHAVIOUR["categories"].items()]
        run = create_run(
            context, marketplace=MARKETPLACE, categories=plan, created_by=user.user_id, allow_over_cap=True
        )
    say(
        f"Created run {run.name!r} under a cap of {run.budget_cap_cents} cents;"
        f" the estimate is {run.estimated_cost_cents} cents"
    )
    return run.id


def _watch(org_id: UUID, run_id: UUID, say: Say, is_enough: Callable[[RunProgress], bool]) -> RunProgress:
    def look(connection: Connection) -> RunProgress:
        return progress_of(get_run(Context.start(connection, org_id), run_id))

    shown, last = 0.0, None
    for progress in changes_of(run_id, look):
        done = is_enough(progress) or progress.is_over
        if progress != last and (done or time.monotonic() - shown >= 1):
            shown, last = time.monotonic(), progress
            say(f"  {progress.line}")
        if done:
            break
    return progress
