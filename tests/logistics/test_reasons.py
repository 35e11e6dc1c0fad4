"""Reasons of robot jobs: their sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.engine.inspect.reasons import Reason
from app.logistics.reasons import CarrierDisabled, ItemShipped, JobEnded, NoCredentials, SessionsBusy

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = UUID(int=1)
SENTENCES: dict[str, Reason] = {
    "the job is completed since 2026-01-02 03:04:05+0000: 3 shipped, 2 failed": JobEnded("completed", 3, 2, AT),
    "shipped at 2026-01-02 03:04:05+0000 under T-1": ItemShipped("T-1", AT),
    "carrier dhl is disabled: its items fail at their next delivery (`carriers enable dhl`)": CarrierDisabled(
        ID, "dhl"
    ),
    "carrier dhl has no username, password or portal: its items fail at their next delivery (`carriers set dhl`)": (
        NoCredentials(ID, "dhl")
    ),
    "4 waiting since 2026-01-02 03:04:05+0000 for a session: 2 of 2 of the account at dhl are busy"
    " (`carriers set dhl --max-sessions`)": SessionsBusy(4, ID, "dhl", 2, 2, AT),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_reason_has_a_sentence(sentence: str) -> None:
    """It names the carrier and the command that helps."""
    assert SENTENCES[sentence].sentence == sentence
