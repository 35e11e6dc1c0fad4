"""The plugin in a test session outside of this repository."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

CONFTEST = 'pytest_plugins = ["app.testing.plugin"]'
TESTS = """
import httpx
import pytest

from app.settings import settings

COUNT = "SELECT count(*) FROM tenancy.orgs"

@pytest.mark.parametrize("n", range(2))
def test_each_test_finds_the_database_empty(connection, n):
    assert connection.execute(COUNT).fetchone() == (0,)
    connection.execute("INSERT INTO tenancy.orgs (name) VALUES ('left behind')")

def test_the_program_finds_it(database):
    assert settings().database_url == database.url

def test_there_is_a_portal(portal):
    assert portal.record.entries == []
    assert httpx.get(f"{portal.url}/orders").status_code == 401

def test_there_is_a_marketplace(marketplace):
    assert marketplace.ledger.charges == []
    assert httpx.get(f"{marketplace.url}/charges").status_code == 401
"""


def test_one_line_in_a_conftest_is_enough(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session has no other part of the program's tests."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=5)
