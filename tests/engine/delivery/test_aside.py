"""Set events aside until an obstacle has passed: the delay grows with the time waited, no attempt is spent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from app.context import Connection
from app.engine.delivery.aside import database_now, set_aside, waited
from app.engine.delivery.bisect import ROUTE
from app.engine.queue.envelope import QueuedEvent, Row, Since, open_rows
from app.errors import Busy, Transient
from tests.helpers.queued import queued
from tests.helpers.toy import NOW, Outside, say

LONGEST_S = 10.0


def rows(connection: Connection) -> list[tuple[float, QueuedEvent]]:
    """Return the delayed events, each with the seconds until it is due."""
    found = connection.execute(
        "SELECT extract(epoch FROM due_at - now())::float, id, args::text FROM engine.delayed ORDER BY id"
    ).fetchall()
    return [(delay, one) for delay, row_id, args in found for one in open_rows([Row(row_id, args)])]


def aside(connection: Connection, *events: QueuedEvent, error: Exception | None = None) -> float:
    """Set events aside in a transaction. Returns the delay in seconds."""
    with connection.transaction():
        return set_aside(connection, ROUTE, events, error or Busy("x is locked"), longest=LONGEST_S)


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(0, 0.75, 1.25), (1, 0.75, 1.25), (8, 3.0, 5.1), (1000, 7.5, 12.5)]
)
def test_the_delay_is_half_of_the_time_waited(
    connection: Connection, outside: Outside, seconds: float, least: float, most: float
) -> None:
    """At least a second, at most `longest`, and up to a quarter more or less."""
    since = Since("Busy: x", database_now(connection) - timedelta(seconds=seconds))
    delay = aside(connection, queued(say("word"), since=since), queued(say("other")))
    assert least <= delay <= most
    for due, event in rows(connection):
        assert delay - 1 < due <= delay
        assert event.since is not None
        assert (event.since.error, event.since.at) == ("Busy: x is locked", since.at)


def test_events_keep_their_attempts(connection: Connection, outside: Outside) -> None:
    """Events with the same attempt share a row."""
    aside(connection, *(queued(say(str(n)), attempt=n % 2) for n in range(4)))
    found = rows(connection)
    assert sorted((event.attempt, event.raw["data"]["word"]) for _, event in found) == [
        (0, "0"),
        (0, "2"),
        (1, "1"),
        (1, "3"),
    ]
    assert len({event.row_id for _, event in found}) == 2


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        (None, 0),
        (Since("Busy: another row", NOW), 60),
        (Since("Transient: x", NOW), 0),
        (Since("Busy: x", NOW + timedelta(hours=1)), 0),
    ],
)
def test_only_the_wait_for_the_same_class_of_error_counts(since: Any, seconds: float) -> None:
    """A time in the future counts as no wait."""
    event = queued(say("word"), since=since)
    assert waited(event, Busy("x"), NOW + timedelta(minutes=1)) == timedelta(seconds=seconds)


def test_a_wait_for_another_error_begins_anew(connection: Connection, outside: Outside) -> None:
    """The row stores the new error and the present time."""
    long_ago = Since("Busy: x", database_now(connection) - timedelta(hours=1))
    assert aside(connection, queued(say("word"), since=long_ago), error=Transient("y")) < 1.3
    ((_, event),) = rows(connection)
    assert event.since is not None
    assert event.since.error == "Transient: y"
    assert database_now(connection) - event.since.at < timedelta(minutes=1)


def test_the_clock_is_the_databases(connection: Connection) -> None:
    """This host's clock may be wrong."""
    true = database_now(connection)
    with time_machine.travel(NOW):
        assert timedelta(0) <= database_now(connection) - true < timedelta(minutes=1)
