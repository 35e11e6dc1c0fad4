"""The gateway's errors: which are tried again, and which may have been charged."""

from __future__ import annotations

import pytest

from app.collection.gateway import (
    KeyRefused,
    MarketBusy,
    MarketError,
    MarketProtocolError,
    MarketTimeout,
    MarketUnavailable,
    RequestRefused,
    SourceEnded,
)
from app.errors import Permanent, Transient


@pytest.mark.parametrize(
    ("kind", "tried_again"),
    [
        (MarketTimeout, True),
        (MarketUnavailable, True),
        (MarketBusy, True),
        (KeyRefused, False),
        (RequestRefused, False),
        (SourceEnded, False),
        (MarketProtocolError, False),
    ],
)
def test_an_error_is_either_transient_or_permanent(kind: type[MarketError], *, tried_again: bool) -> None:
    """It tells the engine whether the call may be repeated, and whether it may have been charged."""
    assert (issubclass(kind, Transient), issubclass(kind, Permanent)) == (tried_again, not tried_again)
    error = kind("no", maybe_charged=True)
    assert (error.maybe_charged, error.maybe_called, error.retry_after, str(error)) == (True, True, None, "no")


def test_an_unreadable_answer_may_still_be_a_bill() -> None:
    """Its error carries the cents that could be read."""
    assert MarketProtocolError("no", maybe_charged=True, charged_cents=7).charged_cents == 7
    assert MarketProtocolError("no", maybe_charged=True).charged_cents is None
