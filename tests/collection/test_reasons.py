"""Reasons: each states in a sentence what an operator needs to know."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.collection.reasons import (
    AccountResting,
    AccountUnusable,
    Budget,
    CallsBusy,
    ItemEnded,
    NoPlace,
    PageEnded,
    RunEnded,
    RunPaused,
)
from app.engine.inspect.reasons import Reason

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = "2026-01-01 12:00:00+0000"
RUN = UUID(int=1)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            RunEnded("completed", 8, 2, 1500, 0, NOON, None, None),
            f"the run is completed since {AT}: 8 items processed, 2 failed, 1,500 cents spent",
        ),
        (
            RunEnded("failed", 0, 0, 5, 7, NOON, "gone", None),
            (
                f"the run is failed since {AT} of gone: no message: 0 items processed, 0 failed, 5 cents spent"
                " and 7 cents above the cap"
            ),
        ),
        (
            RunPaused(RUN, "amazon.de", "user", NOON, "ana"),
            f"the run is paused since {AT} by ana (user): `runs resume {RUN}`",
        ),
        (
            RunPaused(RUN, "amazon.de", "place", NOON, "ana"),
            f"the run is paused since {AT} (place): it continues by itself when fewer runs are running",
        ),
        (
            NoPlace(2, 3, 3),
            "number 2 of the runs that wait: 3 of at most 3 are running (`settings set --max-runs`)",
        ),
        (
            Budget(100, 50, 0, 2500, own_cap=False),
            "100 cents spent and 50 cents reserved of the cap of 2,500 cents, 2,350 cents left",
        ),
        (
            Budget(100, 0, 20, 100, own_cap=True),
            (
                "100 cents spent and 0 cents reserved of its own cap of 100 cents, 0 cents left, 20 cents charged above"
                " the cap"
            ),
        ),
        (
            AccountUnusable(RUN, "amazon.de", "is disabled"),
            "the account with amazon.de is disabled, so no page can be bought (`marketplaces enable amazon.de`)",
        ),
        (AccountResting("amazon.de", "429", NOON), f"the account with amazon.de rests until {AT}: 429"),
        (
            CallsBusy(3, "amazon.de", 1, 2, NOON),
            (
                f"3 waiting since {AT} for a call: 1 of 2 of the account with amazon.de are in progress"
                " (`marketplaces set amazon.de --max-calls`)"
            ),
        ),
        (ItemEnded("completed", "B1", NOON, None, None), f"B1 is completed since {AT}"),
        (ItemEnded("failed", "B1", NOON, "gone", "not sold"), f"B1 is failed since {AT} of gone: not sold"),
        (PageEnded("completed", 30, NOON, None, None), f"the page is completed since {AT}; 30 cents charged"),
        (
            PageEnded("failed", 0, NOON, "gone", "no page"),
            f"the page is failed since {AT} of gone: no page; 0 cents charged",
        ),
    ],
)
def test_a_reason_has_a_sentence(reason: Reason, sentence: str) -> None:
    """Errors, authors and overruns are named if there are any."""
    assert reason.sentence == sentence
