"""Settings: values that cannot be are refused by the name of their variable, alone and together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.errors import SetupError
from app.settings import settings

TIMES = ("HEARTBEAT_INTERVAL", "STALLED_AFTER", "GRACEFUL_TIMEOUT")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Settings are read once a process: read them anew, before and after."""
    settings.cache_clear()
    yield
    settings.cache_clear()


def given(monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
    """Set the heartbeat's interval, the age that counts as dead, and the time to stop."""
    for name, value in zip(TIMES, times, strict=True):
        monkeypatch.setenv(f"TALLYMAN_{name}", str(value))


@pytest.mark.parametrize("times", [(10, 30, 12), (10, 20, 9.9), (1, 2, 0.5)])
def test_times_that_leave_a_worker_alive_are_taken(monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...]) -> None:
    """Two heartbeats fit into the age that counts as dead, and so does a stop after the last heartbeat."""
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
def test_times_that_let_a_live_worker_pass_for_dead_are_refused(
    monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...], named: str
) -> None:
    """Its deliveries would be given to another worker while it still has them."""
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
def test_a_value_that_cannot_be_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The error names the variable as it is set."""
    monkeypatch.setenv(f"TALLYMAN_{name}", value)
    with pytest.raises(SetupError, match=f"TALLYMAN_{name}"):
        settings()
