"""Bury: write dead letters, one for an event that is not applied."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.context import Connection
from app.engine.delivery import bury
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.errors import Permanent
from events import Event, Unreadable
from tests.helpers.support import deliver, scalar
from tests.helpers.toy import Outside, Said, say


def buried(connection: Connection, event: Event[Said]) -> int:
    """Bury an event. Returns the number of dead letters."""
    raw = event.model_dump(mode="json", exclude_none=True)
    bury.bury(connection, [(QueuedEvent(0, 0, raw, event), Permanent("no"))])
    return int(scalar(connection, "SELECT count(*) FROM engine.failed_jobs"))


def test_an_applied_event_is_not_buried(connection: Connection, outside: Outside) -> None:
    """Another delivery applied it."""
    event = say("applied")
    publish(connection, event)
    deliver(connection)
    assert buried(connection, event) == 0
    assert buried(connection, say("dead")) == 1


def test_an_unreadable_event_under_an_applied_id_is_buried_apart(connection: Connection, outside: Outside) -> None:
    """Unless the ledger has the same content: then nothing is buried."""
    event = say("applied")
    publish(connection, event)
    deliver(connection)
    raw = event.model_dump(mode="json", exclude_none=True)
    copy, other = {**raw, "time": "never"}, {**raw, "data": {"wrong": 1}}
    bury.bury(connection, [(QueuedEvent(0, 0, one, Unreadable(one, "no")), Permanent("no")) for one in (copy, other)])
    letters = connection.execute("SELECT event_data, event_id <> %s FROM engine.failed_jobs", [event.id]).fetchall()
    assert letters == [(other, True)]


def test_the_same_failure_of_two_events_has_one_fingerprint() -> None:
    """Ids, numbers and quoted values do not count; type, error and words do."""

    def failure(job_type: str = "t", error: str = "E", words: str = "is of job", n: int = 1) -> str:
        return bury.fingerprint(job_type, error, f"item {uuid4()} {words} {n}, 'Ana {n}' and \"Q{n}\"")

    assert failure(n=1) == failure(n=22)
    assert len({failure(), failure(job_type="u"), failure(error="F"), failure(words="is not of job")}) == 4


def test_no_local_variable_is_in_a_stored_stack(connection: Connection, outside: Outside) -> None:
    """It has frames and message. A variable may hold a password."""

    def fail(n: int) -> None:
        secret = "hunter" + str(n)
        raise Permanent(f"no login of {len(secret)} characters")

    event = say("dead")
    raw = event.model_dump(mode="json", exclude_none=True)
    with pytest.raises(Permanent) as caught:
        fail(2)
    bury.bury(connection, [(QueuedEvent(0, 0, raw, event), caught.value)])
    stack = scalar(connection, "SELECT error_stack FROM engine.failed_jobs")
    assert "in fail" in stack
    assert "Permanent: no login of 7 characters" in stack
    assert "hunter2" not in stack
