"""The declaration of a batch."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.engine.batches.tables import Batch
from tests.helpers.cards import PRINTS, Office, Requested
from tests.helpers.songs import SONGS


def test_the_engines_words_are_read_from_the_tables() -> None:
    """An unknown status is an error."""
    assert isinstance(SONGS, Batch)
    assert [SONGS.word(status) for status in ("pending", "generating", "complete", "failed")] == [
        "pending",
        "processing",
        "success",
        "error",
    ]
    with pytest.raises(KeyError):
        SONGS.word("processing")


def test_ids_attempts_and_counters_are_read_by_their_names(office: Office) -> None:
    """In payloads and in rows."""
    job_id, item_id = uuid4(), uuid4()
    data = Requested(job_id=job_id, item_id=item_id, attempt=3, paper="matt", address="a")
    assert (PRINTS.job_of(data), PRINTS.item_of(data), PRINTS.attempt_of(data)) == (job_id, item_id, 3)
    assert PRINTS.counters(office.submit("a", "b")) == (2, 0, 0)
    assert (PRINTS.owner, SONGS.owner, PRINTS.table) == ("workspace", "user", "cards.prints")
