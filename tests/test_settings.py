"""Settings: bad values and combinations are refused by the name of their variable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.errors import SetupError
from app.settings import settings

TIMES = ("HEARTBEAT_INTERVAL", "STALLED_AFTER", "GRACEFUL_TIMEOUT")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Read the settings anew, before and after the test."""
    settings.cache_clear()
    yield
    settings.cache_clear()


def given(monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
    """Set the heartbeat interval, the age of a stale heartbeat, and the time to stop."""
    for name, value in zip(TIMES, times, strict=True):
        monkeypatch.setenv(f"TALLYMAN_{name}", str(value))


@pytest.mark.parametrize("times", [(10, 30, 12), (10, 20, 9.9), (1, 2, 0.5)])
def test_consistent_times_are_accepted(monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...]) -> None:
    """Two heartbeats fit into the age of a stale one, and so does a stop after the last heartbeat."""
    given(monkeypatch, *times)
    found = settings()
    assert (found.heartbeat_interval, found.stalled_after, found.graceful_timeout) == times


@pytest.mark.parametrize(
    ("times", "named"),
    [
        ((10, 19, 1), "STALLED_AFTER must be at least twice TALLYMAN_HEARTBEAT_INTERVAL"),
        ((10, 30, 20), r"GRACEFUL_TIMEOUT \+ TALLYMAN_HEARTBEAT_INTERVAL must be less than TALLYMAN_STALLED_AFTER"),
        ((10, 30, 29), r"GRACEFUL_TIMEOUT \+ TALLYMAN_HEARTBEAT_INTERVAL must be less than TALLYMAN_STALLED_AFTER"),
    ],
)
def test_times_with_which_a_live_worker_looks_dead_are_refused(
    monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...], named: str
) -> None:
    """Its deliveries would be given to another worker."""
    given(monkeypatch, *times)
    with pytest.raises(SetupError, match=named):
        settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLLING_INTERVAL", "5.1"),
        ("POLLING_INTERVAL", "0"),
        ("MOST_ATTEMPTS", "0"),
        ("MOST_RESCUES", "0"),
        ("PORTAL_SETTLE", "-1"),
        ("RETRY_BASE", "0"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_bad_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """By the name of the environment variable."""
    monkeypatch.setenv(f"TALLYMAN_{name}", value)
    with pytest.raises(SetupError, match=f"TALLYMAN_{name}"):
        settings()
