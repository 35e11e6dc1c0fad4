"""Reasons why an event has not been applied yet: their sentences and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from app.engine.inspect.reasons import Dead, Done, Failed, InDoubt, InHand, Reason, counted, shown

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = UUID(int=1)
SENTENCES = {
    "1 event is in hand of worker 7 since 2026-01-02 03:04:05+0000 (queue q, row 9)": InHand(
        1, "q", 9, "7", AT, is_stale=False
    ),
    "2 events are in hand of a worker that is gone (queue q, row 9); it is taken for dead, the next rescue by a live"
    " worker frees the row": InHand(2, "q", 9, None, None, is_stale=True),
    "1 event is in row 9 that the queue failed; the sweep makes a dead letter of it": Failed(1, "q", 9),
    "1 event is in doubt: a call was begun at 2026-01-02 03:04:05+0000 and has no recorded outcome; the next delivery"
    " asks the other side first": InDoubt(1, ID, AT, 2),
    f"3 events are dead since 2026-01-02 03:04:05+0000 of Permanent: no (`dead show {ID}`)": Dead(
        3, ID, "t", "Permanent: no", AT, None
    ),
    "t was applied at 2026-01-02 03:04:05+0000": Done("t", AT),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_reason_has_a_sentence(sentence: str) -> None:
    """It names what an operator needs: the worker, the row, the letter, the time."""
    assert SENTENCES[sentence].sentence == sentence


@pytest.mark.parametrize("reason", SENTENCES.values(), ids=lambda reason: type(reason).__name__)
def test_times_can_be_converted(reason: Reason) -> None:
    """To another time zone, for example. Other fields stay as they are."""
    zone = timezone(timedelta(hours=-5))
    converted = reason.with_times(lambda at: at.astimezone(zone))
    assert converted == reason
    assert converted.sentence == reason.sentence.replace("03:04:05+0000", "22:04:05-0500").replace(
        "01-02 22", "01-01 22"
    )


def test_sentences_agree_in_number() -> None:
    """One event is, several are. Times are shown with their offset."""
    assert (counted(1), counted(2), counted(0)) == ("1 event is", "2 events are", "0 events are")
    assert shown(AT) == "2026-01-02 03:04:05+0000"
