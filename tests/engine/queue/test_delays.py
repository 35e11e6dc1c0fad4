"""Delays: each wait has the right length, and only time makes the row due.

Rows are delivered one by one: a real worker's upkeep and `drain_all` would hide a lost delay.
"""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

import events
from app.context import Connection
from app.engine import domain
from app.engine.inspect.timeline import timeline
from app.engine.queue.publish import publish
from app.settings import settings
from app.testing.worker import let_time_pass
from events import Event
from tests.helpers.blocking_calls import outside_that
from tests.helpers.support import deliver, scalar
from tests.helpers.toy import NOW, Outside, Said, Wanted

BASE_S, CAP_S = 100, 1000
SLACK_S = 10
"""How long a busy machine may take from putting an event back to looking at it."""


@pytest.fixture(autouse=True)
def long_delays(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays that are longer than any test."""
    monkeypatch.setenv("TALLYMAN_RETRY_BASE", str(BASE_S))
    monkeypatch.setenv("TALLYMAN_RETRY_CAP", str(CAP_S))
    settings.cache_clear()


def said(subject: UUID, mood: str) -> Event[Said]:
    """Return the event of a word about a subject."""
    return events.new(Said(word="word", mood=mood), now=NOW, subject=subject, tenant=None)


def waits(connection: Connection, subject: UUID) -> tuple[int, float]:
    """Return the attempt of the subject's waiting event, and the seconds until it is due."""
    (entry,) = [entry for entry in timeline(connection, subject) if entry.state == "waiting"]
    assert entry.at is not None
    return entry.attempt or 0, (entry.at - scalar(connection, "SELECT now()")).total_seconds()


def assert_about(seconds: float, least: float, most: float) -> None:
    """Assert that a delay is between two limits, with tolerance for the time of the check."""
    assert least - SLACK_S < seconds <= most


@pytest.mark.parametrize("kind", [Said, Wanted])
def test_an_event_is_put_back_for_longer_each_time(connection: Connection, kind: type[Said | Wanted]) -> None:
    """Between half and all of the doubled base, up to the cap. After the last attempt it is buried."""
    subject, mood = uuid4(), "later" if kind is Said else "never"
    publish(connection, events.new(kind(word="word", mood=mood), now=NOW, subject=subject, tenant=None))
    for attempt in range(5):
        assert deliver(connection) == 1
        longest = min(CAP_S, BASE_S * 2**attempt)
        deliveries, seconds = waits(connection, subject)
        assert deliveries == attempt + 1
        assert_about(seconds, longest / 2, longest)
        assert deliver(connection) == 0
        assert let_time_pass(connection)
    assert deliver(connection) == 1
    (entry,) = timeline(connection, subject)
    assert (entry.state, entry.attempt) == ("dead", 6)


def test_a_published_delay_is_kept(connection: Connection) -> None:
    """Alone or with others in a row."""
    alone, together = uuid4(), uuid4()
    publish(connection, said(alone, "fine"), delay=600)
    publish(connection, said(together, "fine"), said(uuid4(), "fine"), delay=60)
    assert deliver(connection) == 0
    assert_about(waits(connection, alone)[1], 600, 600)
    assert_about(waits(connection, together)[1], 60, 60)
    assert let_time_pass(connection)
    deliver(connection)
    assert {entry.state for subject in (alone, together) for entry in timeline(connection, subject)} == {"applied"}


def test_a_deadlock_spends_no_attempt_and_has_a_short_delay(connection: Connection) -> None:
    """It waits between half and one and a half of the base."""
    subject = uuid4()
    publish(connection, said(subject, "deadlock"))
    assert deliver(connection) == 1
    deliveries, seconds = waits(connection, subject)
    assert deliveries == 0
    assert_about(seconds, BASE_S / 2, BASE_S * 1.5)


def test_a_call_that_failed_waits_for_its_grace_period(connection: Connection, outside: Outside) -> None:
    """If the retry would come sooner."""
    subject = uuid4()
    publish(connection, events.new(Wanted(word="w", mood="never"), now=NOW, subject=subject, tenant=None))
    with domain.use(outside_that(outside.call, outside, grace_period=500)):
        assert deliver(connection) == 1
    assert_about(waits(connection, subject)[1], 500, 500)
