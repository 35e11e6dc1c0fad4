"""Queries of dead letters: list, stream, group, count, find, and the events applied before and after one."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

import events
from app.context import Connection
from app.engine.dead_letters import letters
from app.engine.dead_letters.letters import Filters
from app.engine.delivery.ledger import enter
from app.engine.queue.envelope import QueuedEvent
from app.errors import NotFound, Permanent, Transient
from tests.helpers.dead_letters import dead
from tests.helpers.support import scalar
from tests.helpers.toy import NOW, Outside, Said, say, want


def test_filters_are_combined_with_and(connection: Connection, outside: Outside) -> None:
    """By type, error class, text, tenant, time, ids and state; by default only open letters."""
    tenant = uuid4()
    one, two = say("one"), want("TWO", tenant=tenant)
    first = dead(connection, one, error=Permanent("no"))[0]
    second = dead(connection, two, error=Transient("later"))[0]
    connection.execute("UPDATE engine.failed_jobs SET failed_at = now() - interval '1 hour' WHERE id = %s", [first.id])
    half_an_hour_ago = letters.ago(connection, timedelta(minutes=30))
    for filters, expected in {
        Filters(type="toy/word.said"): [first.id],
        Filters(error_class="Transient"): [second.id],
        Filters(text="two"): [second.id],
        Filters(text="NO"): [first.id],
        Filters(tenant=tenant): [second.id],
        Filters(until=half_an_hour_ago): [first.id],
        Filters(since=half_an_hour_ago): [second.id],
        Filters(ids=(one.id, second.id)): [second.id, first.id],
        Filters(type="toy/word.said", text="two"): [],
        Filters(resolved=True): [],
        Filters(): [second.id, first.id],
    }.items():
        assert [letter.id for letter in letters.select(connection, filters)] == expected, filters
    assert [letter.id for letter in letters.select(connection, Filters(), limit=1)] == [second.id]
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now() WHERE id = %s", [first.id])
    assert [letter.id for letter in letters.select(connection, Filters())] == [second.id]
    assert [letter.id for letter in letters.select(connection, Filters(resolved=True))] == [first.id]
    assert len(letters.select(connection, Filters(resolved=None))) == 2


def test_filters_are_stored_as_json_without_those_that_are_not_set() -> None:
    """Ids and times become text."""
    letter_id = uuid4()
    filters = Filters(type="t", ids=[letter_id], since=NOW, resolved=False)
    assert filters.as_json() == {"type": "t", "ids": [str(letter_id)], "since": str(NOW), "resolved": False}
    assert Filters(resolved=None).as_json() == {}


@pytest.mark.parametrize("page", [1, 2, 500])
def test_a_stream_yields_each_letter_once_oldest_first(
    connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """In pages of at most `PAGE`, from one snapshot; `types` selects event types."""
    monkeypatch.setattr(letters, "PAGE", page)
    written = [dead(connection, event)[0] for event in (say("one"), say("two"), want("three"))]
    with connection.transaction():
        pages = letters.stream(connection, Filters())
        found = next(pages)
        dead(connection, say("late"))
        found += [letter for rest in pages for letter in rest]
        assert [letter.id for letter in found] == [letter.id for letter in written]
        (wanted,) = letters.stream(connection, Filters(), ["toy/call.wanted"])
        assert [letter.id for letter in wanted] == [written[2].id]


def test_letters_of_the_same_failure_are_one_group(connection: Connection, outside: Outside) -> None:
    """Largest group first, with the newest letter as its sample and the number of its tenants."""
    for number in (1, 2):
        dead(connection, want("x", tenant=uuid4()), error=Permanent(f"order {number} is unknown"))
    newest = dead(connection, want("x"), error=Permanent("order 3 is unknown"))[0]
    dead(connection, say("x"), error=Transient("later"))
    big, small = letters.group(connection, Filters())
    assert (big.letters, big.tenants, big.sample_id) == (3, 2, newest.id)
    assert (big.sample_message, big.job_type) == ("order 3 is unknown", "toy/call.wanted")
    assert (small.letters, small.error_class) == (1, "Transient")
    assert len(letters.select(connection, Filters(fingerprint=big.fingerprint))) == 3
    assert letters.group(connection, Filters(), limit=1) == [big]


def test_letters_are_counted_by_type_and_error_class(connection: Connection, outside: Outside) -> None:
    """Resolved and replayed letters count apart; `oldest` is of the open letters only."""
    resolved, still_open = dead(connection, say("one"), say("two"))
    connection.execute(
        "UPDATE engine.failed_jobs SET resolved_at = now(), replay_count = 2, failed_at = now() - interval '1 day'"
        " WHERE id = %s",
        [resolved.id],
    )
    (row,) = letters.stats(connection)
    assert (row["job_type"], row["error_class"]) == ("toy/word.said", "Permanent")
    assert (row["unresolved"], row["resolved"], row["replayed"]) == (1, 1, 1)
    assert (row["oldest"], row["newest"]) == (still_open.failed_at, still_open.failed_at)


def test_a_letter_is_found_by_its_id_or_by_its_event(connection: Connection, outside: Outside) -> None:
    """Of several letters of one event the open one is returned, else the newest."""
    event = say("one")
    (old,) = dead(connection, event)
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now()")
    (new,) = dead(connection, event)
    assert new.id != old.id
    connection.execute("UPDATE engine.failed_jobs SET failed_at = now() - interval '1 day' WHERE id = %s", [new.id])
    assert letters.find(connection, event.id).id == new.id
    assert letters.find(connection, old.id).id == old.id
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now()")
    assert letters.find(connection, event.id).id == old.id
    with pytest.raises(NotFound, match="there is none with the id"):
        letters.find(connection, uuid4())


def test_neighbours_are_applied_events_of_the_same_subject(connection: Connection, outside: Outside) -> None:
    """Those before the failure and those after it, each in the order of application, the nearest `limit` of them."""
    subject = uuid4()
    said = [events.new(Said(word=str(n)), now=NOW, subject=subject, tenant=None) for n in range(6)]
    (letter,) = dead(connection, events.new(Said(word="dead"), now=NOW, subject=subject, tenant=None))
    applied = [*said, say("elsewhere")]
    enter(connection, [QueuedEvent(0, 0, event.model_dump(mode="json"), event) for event in applied])
    for number, event in enumerate(said):
        connection.execute(
            "UPDATE engine.event_log SET applied_at = %s::timestamptz + %s * interval '1 minute' WHERE event_id = %s",
            [letter.failed_at, number - 2, event.id],
        )
    before, after = letters.neighbours(connection, letter, limit=2)
    assert [one.event_id for one in before] == [said[1].id, said[2].id]
    assert [one.event_id for one in after] == [said[3].id, said[4].id]
    (apart,) = dead(connection, say("no subject"))
    assert letters.neighbours(connection, apart) == ([], [])


def test_a_span_is_subtracted_from_the_databases_clock(connection: Connection) -> None:
    """Not from this host's clock."""
    with connection.transaction():
        now = scalar(connection, "SELECT clock_timestamp()")
        found = letters.ago(connection, timedelta(hours=1))
    assert timedelta(0) <= found + timedelta(hours=1) - now < timedelta(minutes=1)
