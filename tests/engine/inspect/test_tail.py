"""Tail: every applied event is shown once, in whatever order transactions commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from app import database as doors
from app.context import Connection
from app.engine.inspect.tail import Filters, Tail
from app.engine.queue.publish import publish
from tests.conftest import Database
from tests.helpers.support import drain
from tests.helpers.toy import Outside, say, want

_APPLY = """
INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, data, occurred_at, applied_at)
VALUES (%s, %s, 1, %s, %s, '{}', now(), coalesce(%s, now()))
"""


def apply(
    connection: Connection,
    kind: str = "toy/word.said",
    *,
    ago: timedelta | None = None,
    tenant: UUID | None = None,
    subject: UUID | None = None,
) -> UUID:
    """Enter an event into the ledger. `ago`: how long ago its transaction began."""
    event_id = uuid4()
    at = None if ago is None else connection.execute("SELECT now() - %s", [ago]).fetchone()
    connection.execute(_APPLY, [event_id, kind, tenant, subject, at and at[0]])
    return event_id


def follow(connection: Connection, since: float = 60, **filters: object) -> Tail:
    """Return a reader that begins a number of seconds ago."""
    return Tail.since(connection, Filters(**filters), timedelta(seconds=since))  # type: ignore[arg-type]


def read(reader: Tail) -> list[UUID]:
    """Return the events since the last read."""
    return [event.event_id for events in reader.read() for event in events]


@contextmanager
def writer(database: Database) -> Iterator[Connection]:
    """A worker with its own transaction."""
    with doors.connect(database.url) as opened:
        opened.execute("SELECT")
        yield opened


def test_applied_events_are_shown_once(connection: Connection, outside: Outside) -> None:
    """In the order of application, with all columns of the ledger."""
    reader = follow(connection)
    publish(connection, say("one", echoes=1), want("two"))
    drain()
    events = [event for portion in reader.read() for event in portion]
    assert {event.type for event in events} == {"toy/word.said", "toy/echo.heard", "toy/call.wanted", "toy/call.made"}
    assert [event.applied_at for event in events] == sorted(event.applied_at for event in events)
    (echo,) = [event for event in events if event.type == "toy/echo.heard"]
    assert echo.causation_id in {event.event_id for event in events if event.type == "toy/word.said"}
    assert read(reader) == []


def test_a_transaction_that_commits_late_is_not_skipped(database: Database, connection: Connection) -> None:
    """Its rows have an earlier time than rows that are already shown."""
    reader = follow(connection)
    assert read(reader) == []
    with writer(database) as slow:
        late = apply(slow)
        quick = apply(connection)
        assert read(reader) == [quick]
        assert read(reader) == []
        slow.commit()
    assert read(reader) == [late]
    assert read(reader) == []


def test_a_transaction_from_before_the_reader_is_not_skipped(database: Database, connection: Connection) -> None:
    """The reader expects rows from its start time on."""
    with writer(database) as slow:
        late = apply(slow)
        reader = follow(connection)
        assert read(reader) == []
        quick = apply(connection)
        assert read(reader) == [quick]
        slow.commit()
    assert read(reader) == [late]


def test_a_long_transaction_is_not_skipped(database: Database, connection: Connection) -> None:
    """The oldest transaction decides from where the ledger is read again. No event is shown twice."""
    reader = follow(connection, since=3600)
    with writer(database) as slow, writer(database) as other:
        late = apply(slow, ago=timedelta(minutes=50))
        assert read(reader) == []
        seen = []
        for _ in range(5):
            seen.append(apply(connection))
            assert read(reader) == seen[-1:]
        middle = apply(other, ago=timedelta(minutes=20))
        other.commit()
        assert read(reader) == [middle]
        slow.commit()
    assert read(reader) == [late]
    assert read(reader) == []


def test_the_reader_moves_on_when_nothing_holds_it_back(connection: Connection) -> None:
    """It does not read the ledger from the beginning again."""
    reader = follow(connection, since=3600)
    apply(connection)
    read(reader)
    began = reader.low
    read(reader)
    assert timedelta(0) <= reader.low - began < timedelta(minutes=1)
    assert connection.execute("SELECT now() - %s < '1 minute'", [reader.low]).fetchone() == (True,)


def test_it_begins_where_it_is_told_to(connection: Connection) -> None:
    """Earlier events are not shown."""
    for minutes in (30, 3, 1):
        apply(connection, ago=timedelta(minutes=minutes))
    assert len(read(follow(connection, since=600))) == 2
    assert len(read(follow(connection, since=3600))) == 3


@pytest.mark.parametrize("kind", ["toy/word.said", "toy/w*", "toy/*"])
def test_events_can_be_filtered(connection: Connection, kind: str) -> None:
    """By type or its prefix, tenant and subject."""
    tenant, subject = uuid4(), uuid4()
    wanted = apply(connection, tenant=tenant, subject=subject)
    apply(connection, tenant=tenant)
    apply(connection, subject=subject)
    apply(connection, "other/word.said", tenant=tenant, subject=subject)
    assert read(follow(connection, types=[kind, "none"], tenant=tenant, subject=subject)) == [wanted]


def test_a_pattern_is_no_wildcard(connection: Connection) -> None:
    """Underscore and percent sign stand for themselves."""
    apply(connection, "toy/word.said")
    assert read(follow(connection, types=["toy/word_said"])) == read(follow(connection, types=["%"])) == []
