"""Checkups of collection: what `doctor` finds of accounts and paused runs."""

from __future__ import annotations

import base64

import pytest

from app.collection import runs
from app.collection.settings import set_settings
from app.settings import settings
from tests.collection.conftest import Team
from tests.helpers.health_fixtures import of


def test_a_complete_account_is_in_order(team: Team) -> None:
    """Also one that is disabled."""
    wanted = [("ok", "every enabled account has an API key that can be decrypted, and a URL")]
    assert of("marketplaces") == wanted
    team.connection.execute("UPDATE collection.marketplace_accounts SET is_enabled = false, base_url = NULL")
    assert of("marketplaces") == wanted


@pytest.mark.parametrize(("column", "missing"), [("api_key", "API key"), ("base_url", "URL")])
def test_an_enabled_account_without_a_key_or_url_is_a_problem(team: Team, column: str, missing: str) -> None:
    """The organisation and the marketplace are named."""
    team.connection.execute(f"UPDATE collection.marketplace_accounts SET {column} = NULL".encode())  # noqa: S608
    wanted = f"organisation {team.org_id}: the enabled account with amazon.de has no {missing}"
    assert of("marketplaces") == [("problem", wanted)]


def test_a_key_that_cannot_be_decrypted_is_a_problem(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another sealing key, or without one. The API key is not shown."""
    monkeypatch.setenv("TALLYMAN_KEYS", "other:" + base64.b64encode(bytes(32)).decode())
    settings.cache_clear()
    ((level, what),) = of("marketplaces")
    assert (level, str(team.org_id) in what, "amazon.de" in what) == ("problem", True, True)
    monkeypatch.delenv("TALLYMAN_KEYS")
    settings.cache_clear()
    ((level, what),) = of("marketplaces")
    assert (level, what.startswith("1 sealed API keys and no key")) == ("problem", True)


def test_runs_that_wait_for_a_person_are_reported(team: Team) -> None:
    """Runs that wait for a higher cap are listed; a user's own pause is not."""
    ok = [("ok", "no run waits for a higher cap or another API key")]
    run = team.start()
    runs.pause_run(team.context, team.start().id, actor="ana")
    assert of("collection runs") == ok
    team.spend(run, 60)
    set_settings(team.context, actor="ana", budget_cap_cents=50)
    ((level, what),) = of("collection runs")
    assert (level, f"organisation {team.org_id}: 1 runs are paused (budget)" in what) == ("info", True)
    team.connection.execute(
        "UPDATE collection.collection_runs SET pause_reason = 'credentials' WHERE pause_reason = 'budget'"
    )
    assert [level for level, _ in of("collection runs")] == ["warning"]
