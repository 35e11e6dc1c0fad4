"""Consume: after a delivery each event is in one state: applied, put back or buried."""

from __future__ import annotations

import json
from dataclasses import replace

import psycopg

from app.context import Connection
from app.database import as_service
from app.engine.delivery import sibling_limit
from app.engine.delivery.consume import consume
from app.engine.queue.publish import publish
from app.settings import using
from tests.conftest import Database
from tests.helpers import sequences, toy
from tests.helpers.dead_letters import healed
from tests.helpers.support import drain, drain_all, scalar, waiting
from tests.helpers.toy import Outside, say


def heard(connection: Connection) -> list[str]:
    """Return the applied words, in alphabetical order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word, id")]


def dead(connection: Connection) -> list[str]:
    """Return the error classes of the dead letters."""
    return [name for (name,) in connection.execute("SELECT error_class FROM engine.failed_jobs ORDER BY error_class")]


def test_an_event_is_published_if_and_only_if_its_transaction_commits(
    connection: Connection, outside: toy.Outside
) -> None:
    """An event of a rolled back transaction does not exist."""
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


def test_waiting_siblings_are_applied_in_one_transaction(connection: Connection, outside: toy.Outside) -> None:
    """One timestamp in the ledger shows one transaction."""
    for n in range(sibling_limit.FIRST):
        publish(connection, say(f"{n:02}"))
    drain(concurrency=1)
    assert len(heard(connection)) == sibling_limit.FIRST
    assert scalar(connection, "SELECT count(DISTINCT applied_at) FROM engine.event_log") == 1


def test_an_event_that_is_delivered_twice_is_applied_once(connection: Connection, outside: toy.Outside) -> None:
    """In the same batch and in a later one."""
    event = say("once", echoes=1)
    publish(connection, event)
    publish(connection, event)
    drain()
    publish(connection, event, event)
    drain()
    assert heard(connection) == ["echo of once", "once"]


def test_resulting_events_are_published_in_the_same_commit(connection: Connection, outside: toy.Outside) -> None:
    """They have their cause, and ids that are derived from it."""
    event = say("loud", echoes=3)
    publish(connection, event)
    drain()
    assert heard(connection) == ["echo of loud"] * 3 + ["loud"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE causation_id = %s", event.id) == 3


def test_failing_events_are_buried_and_the_others_applied(connection: Connection, outside: toy.Outside) -> None:
    """In a batch and among siblings, a permanent error buries its own event only."""
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
    """Named events are buried without a bisection. The others are applied in one transaction."""
    publish(connection, *[say(f"w{n:02}", "named" if n in {1, 2} else "fine") for n in range(10)])
    drain()
    assert len(heard(connection)) == 8
    assert dead(connection) == ["FailingEvents"] * 2


def test_a_dead_letter_holds_the_event_as_it_was_published(connection: Connection, outside: toy.Outside) -> None:
    """It has the whole event, the error, and the fingerprint."""
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
    """Six deliveries, then a dead letter with their number. `test_delays` checks the delays."""
    publish(connection, say("patient", "later"), say("other"))
    drain()
    assert heard(connection) == ["other"]
    drain_all(connection)
    assert dead(connection) == ["Transient"]
    assert scalar(connection, "SELECT retry_count FROM engine.failed_jobs") == 6


def test_a_bug_is_tried_again_before_it_is_final(connection: Connection, outside: toy.Outside) -> None:
    """The next deployment may fix it."""
    publish(connection, say("oops", "bug"))
    drain()
    assert dead(connection) == []
    drain_all(connection)
    assert dead(connection) == ["RuntimeError"]


def test_a_deadlock_spends_no_attempt(connection: Connection, outside: toy.Outside) -> None:
    """It is caused by another transaction, so the event is put back with the same attempt."""
    publish(connection, say("unlucky", "deadlock"))
    drain()
    assert dead(connection) == []
    assert scalar(connection, "SELECT args->'data'->>'word' FROM engine.delayed") == "unlucky"


def test_arguments_that_are_no_event_are_buried(connection: Connection, outside: toy.Outside) -> None:
    """Unknown types and versions, extra fields, arguments that are no object. The other events are applied."""
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
    """In the commit that applies the event."""
    event = say("twice", "bad")
    publish(connection, event)
    drain()
    with healed():
        publish(connection, event)
        drain()
    assert heard(connection) == ["twice"]
    assert scalar(connection, "SELECT resolved_at IS NOT NULL FROM engine.failed_jobs")


def test_an_event_within_the_limit_is_never_too_large(connection: Connection, outside: toy.Outside) -> None:
    """Blanks that PostgreSQL adds and escapes of JSON do not count, whatever else is in the row."""
    words = ["ñ" * 120_000, json.dumps([[n] for n in range(24_000)])]
    publish(connection, *[say(word) for word in words], say("bad neighbour", "bad"))
    drain_all(connection)
    assert len(heard(connection)) == 2
    assert dead(connection) == ["Permanent"]


def test_json_that_python_cannot_read_is_buried(connection: Connection, outside: toy.Outside) -> None:
    """PostgreSQL accepts a number of thousands of digits. The fetch and the other events go on."""
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


def test_a_delivery_whose_lease_is_lost_applies_nothing(
    database: Database, connection: Connection, outside: toy.Outside
) -> None:
    """Another worker has fetched the row: 0 is returned, and the row is left to that worker."""
    publish(connection, say("word"))
    with sequences.engine(database) as engine:
        (delivery, _) = sequences.fetch(connection) or (None, False)
        assert delivery is not None
        assert consume(engine, replace(delivery, attempts=7), siblings=True) == 0
        assert (heard(connection), waiting(connection)) == ([], 1)
        assert consume(engine, delivery, siblings=True) == 1
        assert consume(engine, delivery, siblings=True) == 0
    assert (heard(connection), waiting(connection)) == (["word"], 0)


def test_a_delivery_without_siblings_takes_its_own_row_only(
    database: Database, connection: Connection, outside: toy.Outside
) -> None:
    """So does the repeated delivery of a single event."""
    for word in ("a", "b", "c"):
        publish(connection, say(word))
    with sequences.engine(database) as engine:
        (delivery, _) = sequences.fetch(connection) or (None, False)
        assert delivery is not None
        assert consume(engine, delivery, siblings=False) == 1
        (delivery, _) = sequences.fetch(connection) or (None, False)
        assert delivery is not None
        connection.execute("UPDATE public.procrastinate_jobs SET attempts = 1 WHERE id = %s", [delivery.row_id])
        assert consume(engine, replace(delivery, attempts=1), siblings=True) == 1
    assert heard(connection) == ["a", "b"]


def test_a_claim_reads_the_index_whatever_the_statistics_say(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """With the statistics of an empty table and thousands of waiting rows, the claim neither sorts nor scans."""
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        admin.execute("ANALYZE public.procrastinate_jobs")
        publish(connection, *[say(f"w{n}") for n in range(3000)], batch_size=1)
        row = connection.execute("SELECT id FROM public.procrastinate_jobs ORDER BY id LIMIT 1").fetchone()
        assert row is not None
        admin.execute("UPDATE public.procrastinate_jobs SET status = 'doing' WHERE id = %s", row)
        admin.execute("LOAD 'auto_explain'")
        for name, value in {"log_min_duration": "0", "log_nested_statements": "on", "log_level": "notice"}.items():
            admin.execute(f"SET auto_explain.{name} = {value}")
        plans: list[str] = []
        admin.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        taken = admin.execute("SELECT count(*) FROM engine.claim(%s, 0, NULL, 499)", row).fetchone()
    assert taken == (500,)
    siblings = [plan for plan in plans if "SKIP LOCKED" in plan]
    assert len(siblings) == 1
    assert "procrastinate_jobs_priority_idx_v1" in siblings[0]
    assert "Sort" not in siblings[0]
    assert "Seq Scan" not in siblings[0]
