"""The state of pages right before a call, the account, and the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import events
from app.collection import accounts, market, pages, runs
from app.collection.runs import Run
from app.collection.settings import set_settings
from app.engine.domain import Prepared
from app.errors import NotCalled
from events import new_id
from tests.collection.conftest import API_KEY, MARKETPLACE, Team
from tests.helpers.support import scalar


def asked(team: Team, run: Run, **values: Any) -> Prepared:
    """Return the request of a run's page, prepared."""
    page_id = scalar(team.connection, "SELECT id FROM collection.collection_pages WHERE run_id = %s", run.id)
    page = pages.find(team.connection, [page_id])[page_id]
    event = pages.request(page, team.context.now)
    data = event.data.model_copy(update=values)
    return Prepared(events.new(data, now=team.context.now, subject=run.id, tenant=team.org_id), None)


def now(team: Team, prepared: Prepared) -> market.Now:
    """Return the current state for a request."""
    return market.recheck(team.connection, [prepared])[prepared.event.id]


def test_a_reserved_page_of_a_running_run_may_be_bought(team: Team) -> None:
    """For the attempt that it waits for. Deleted pages are left out."""
    run = team.start()
    prepared = asked(team, run)
    assert (now(team, prepared).is_awaited, now(team, prepared).may_buy) == (False, True)
    team.begin(run)
    found = now(team, prepared)
    assert (found.is_awaited, found.may_buy, found.org_id, found.marketplace) == (True, True, team.org_id, MARKETPLACE)
    assert not now(team, asked(team, run, attempt=9)).is_awaited
    assert market.recheck(team.connection, [asked(team, run, page_id=new_id())]) == {}


def test_a_paused_run_buys_nothing(team: Team) -> None:
    """Neither does a run whose cap was lowered below what is reserved."""
    run = team.start()
    team.begin(run)
    prepared = asked(team, run)
    set_settings(team.context, actor="ana", budget_cap_cents=99)
    assert not now(team, prepared).may_buy
    set_settings(team.context, actor="ana", budget_cap_cents=100)
    assert now(team, prepared).may_buy
    runs.pause_run(team.context, run.id, actor="ana")
    assert not now(team, prepared).may_buy


def test_the_account_has_its_decrypted_key(team: Team) -> None:
    """A disabled or missing account cannot be used, and its key is not shown."""
    run = team.start()
    prepared = asked(team, run)
    account = market.account(now(team, prepared))
    assert account.api_key.get_secret_value() == API_KEY
    assert str(now(team, prepared).api_key) not in repr(now(team, prepared))
    accounts.disable_account(team.context, MARKETPLACE)
    with pytest.raises(NotCalled, match=f"the account with {MARKETPLACE} is disabled"):
        market.account(now(team, prepared))
    team.connection.execute("DELETE FROM collection.marketplace_accounts")
    assert now(team, prepared).sealed is None
    with pytest.raises(NotCalled, match="is disabled or has no API key or URL"):
        market.account(now(team, prepared))


def test_the_calls_of_an_event_loop_share_a_gateway() -> None:
    """Until it is closed. Closing without a gateway does nothing."""

    async def both() -> tuple[object, object, object]:
        await market.close()
        first, second = market.market(), market.market()
        await market.close()
        third = market.market()
        await market.close()
        return first, second, third

    first, second, third = asyncio.run(both())
    assert first is second
    assert third is not first
