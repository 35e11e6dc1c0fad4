"""Consume: every event ends every delivery applied, put back or buried, and exactly one of these."""

from __future__ import annotations

import json

from app.context import Connection
from app.database import as_service
from app.engine.delivery import sibling_limit
from app.engine.queue.publish import publish
from app.settings import using
from tests.helpers import toy
from tests.helpers.dead_letters import healed
from tests.helpers.support import drain, drain_all, scalar, waiting
from tests.helpers.toy import say


def heard(connection: Connection) -> list[str]:
    """Every word that was heard, in order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word, id")]


def dead(connection: Connection) -> list[str]:
    """The error classes of the dead letters."""
    return [name for (name,) in connection.execute("SELECT error_class FROM engine.failed_jobs ORDER BY error_class")]


def test_an_event_is_heard_if_and_only_if_its_transaction_commits(connection: Connection, outside: toy.Outside) -> None:
    """Publishing belongs to the caller's transaction: rolled back, it was never said."""
    with as_service(connection):
        publish(connection, say("kept"))
    try:
        with as_service(connection):
            publish(connection, say("dropped"))
            raise ZeroDivisionError  # noqa: TRY301 - what breaks the transaction is the test
    except ZeroDivisionError:
        pass
    drain()
    assert heard(connection) == ["kept"]
    assert waiting(connection) == 0


def test_waiting_siblings_are_taken_along_in_one_transaction(connection: Connection, outside: toy.Outside) -> None:
    """Single rows that wait together are applied together: one ledger timestamp is one transaction."""
    for n in range(sibling_limit.FIRST):
        publish(connection, say(f"{n:02}"))
    drain(concurrency=1)
    assert len(heard(connection)) == sibling_limit.FIRST
    assert scalar(connection, "SELECT count(DISTINCT applied_at) FROM engine.event_log") == 1


def test_an_event_that_is_delivered_twice_takes_effect_once(connection: Connection, outside: toy.Outside) -> None:
    """The ledger refuses what it knows, in the same batch and in a later one."""
    event = say("once", echoes=1)
    publish(connection, event)
    publish(connection, event)
    drain()
    publish(connection, event, event)
    drain()
    assert heard(connection) == ["echo of once", "once"]


def test_what_follows_is_published_in_the_same_commit(connection: Connection, outside: toy.Outside) -> None:
    """Consequences carry their cause and have ids that are derived from it."""
    event = say("loud", echoes=3)
    publish(connection, event)
    drain()
    assert heard(connection) == ["echo of loud"] * 3 + ["loud"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE causation_id = %s", event.id) == 3


def test_failing_events_are_buried_and_the_others_applied(connection: Connection, outside: toy.Outside) -> None:
    """In a batch and among siblings, a permanent error costs its own event and no other."""
    batch = [say(f"p{n}", "bad" if n in {3, 17} else "fine") for n in range(20)]
    with connection.transaction():
        publish(connection, *batch)
    for n in range(20):
        publish(connection, say(f"s{n}", "bad" if n == 5 else "fine"))
    drain()
    assert len(heard(connection)) == 37
    assert dead(connection) == ["Permanent"] * 3
    assert waiting(connection) == 0


def test_a_handler_can_name_the_failing_events(connection: Connection, outside: toy.Outside) -> None:
    """Named events are buried without a search, the rest is applied in one transaction."""
    publish(connection, *[say(f"w{n:02}", "named" if n in {1, 2} else "fine") for n in range(10)])
    drain()
    assert len(heard(connection)) == 8
    assert dead(connection) == ["FailingEvents"] * 2


def test_a_dead_letter_holds_the_event_as_it_was_published(connection: Connection, outside: toy.Outside) -> None:
    """What is buried can be replayed: the whole event, its error, and a fingerprint without particulars."""
    event = say("lost", "bad")
    publish(connection, event)
    drain()
    row = connection.execute(
        "SELECT event_data, job_type, event_id, error_message, retry_count, error_stack LIKE '%%Permanent%%'"
        " FROM engine.failed_jobs"
    ).fetchone()
    assert row is not None
    assert row[0] == json.loads(event.json_bytes())
    assert row[1:] == ("toy/word.said", event.id, "cannot hear lost", 1, True)


def test_a_transient_error_puts_the_event_back_until_its_attempts_are_spent(
    connection: Connection, outside: toy.Outside
) -> None:
    """Six deliveries, then a dead letter that counts them; how long it waits in between is in `test_delays`."""
    publish(connection, say("patient", "later"), say("other"))
    drain()
    assert heard(connection) == ["other"]
    drain_all(connection)
    assert dead(connection) == ["Transient"]
    assert scalar(connection, "SELECT retry_count FROM engine.failed_jobs") == 6


def test_a_bug_is_tried_again_before_it_is_final(connection: Connection, outside: toy.Outside) -> None:
    """An error that nobody foresaw may be mended by the next deployment."""
    publish(connection, say("oops", "bug"))
    drain()
    assert dead(connection) == []
    drain_all(connection)
    assert dead(connection) == ["RuntimeError"]


def test_a_deadlock_spends_no_attempt(connection: Connection, outside: toy.Outside) -> None:
    """What another transaction did says nothing about the event: it goes back as if it had never been tried."""
    publish(connection, say("unlucky", "deadlock"))
    drain()
    assert dead(connection) == []
    assert scalar(connection, "SELECT args->'data'->>'word' FROM engine.delayed") == "unlucky"


def test_what_is_no_event_becomes_a_dead_letter(connection: Connection, outside: toy.Outside) -> None:
    """Unknown types and versions, extra fields, arguments that are no object: buried, and nothing else suffers."""
    good = json.loads(say("good").json_bytes())
    rows = [
        good,
        {**good, "id": "00000000-0000-0000-0000-000000000001", "type": "toy/unknown.said"},
        {**good, "id": "00000000-0000-0000-0000-000000000002", "dataschema": "toy/word.said/7"},
        {**good, "id": "00000000-0000-0000-0000-000000000003", "data": {"word": "x", "extra": 1}},
        {"anything": "else"},
        ["no", "object"],
        {"attempt": "x", "events": 3},
        {**good, "id": "00000000-0000-0000-0000-000000000004", "data": {"word": "x" * 300_000}},
    ]
    for row in rows:
        connection.execute(
            "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)"
            " VALUES ('events', 'consume', %s::jsonb)",
            [json.dumps(row)],
        )
    with using(unknown_patience=0):
        drain()
    assert heard(connection) == ["good"]
    assert dead(connection) == ["InvalidEvent"] * 7
    assert waiting(connection) == 0


def test_a_later_success_resolves_the_dead_letter(connection: Connection, outside: toy.Outside) -> None:
    """No event is applied and dead: whichever delivery applies it resolves its letter in the same commit."""
    event = say("twice", "bad")
    publish(connection, event)
    drain()
    with healed():
        publish(connection, event)
        drain()
    assert heard(connection) == ["twice"]
    assert scalar(connection, "SELECT resolved_at IS NOT NULL FROM engine.failed_jobs")


def test_an_event_within_the_limit_is_never_too_large(connection: Connection, outside: toy.Outside) -> None:
    """What PostgreSQL adds in blanks, or JSON in escapes, counts for nothing, whatever else is in the row."""
    words = ["ñ" * 120_000, json.dumps([[n] for n in range(24_000)])]
    publish(connection, *[say(word) for word in words], say("bad neighbour", "bad"))
    drain_all(connection)
    assert len(heard(connection)) == 2
    assert dead(connection) == ["Permanent"]


def test_what_python_cannot_read_becomes_a_dead_letter(connection: Connection, outside: toy.Outside) -> None:
    """A number of thousands of digits is JSON to PostgreSQL: it stops neither the fetch nor its neighbours."""
    good = json.loads(say("good").json_bytes())
    for args in (f'{{"huge": {"9" * 5000}}}', f'{{"events": [{{"huge": {"9" * 5000}}}]}}', json.dumps(good)):
        connection.execute(
            "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)"
            " VALUES ('events', 'consume', %s::jsonb)",
            [args],
        )
    drain_all(connection)
    assert heard(connection) == ["good"]
    assert dead(connection) == ["InvalidEvent"] * 2
