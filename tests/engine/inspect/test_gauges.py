"""Gauges: the state of the queue, read at bounded cost."""

from __future__ import annotations

import json
from typing import Any

from app.context import Connection
from app.engine.domain import ConcurrencyLimit
from app.engine.inspect import gauges as module
from app.engine.inspect.gauges import Gauge, gauges
from app.engine.queue.pauses import pause
from app.engine.queue.publish import publish, publish_all, put_back
from app.testing import worker
from tests.helpers.health_fixtures import enlist
from tests.helpers.support import drain
from tests.helpers.toy import Outside, say, want

SAID, WANTED = "toy/word.said", "toy/call.wanted"


def read(connection: Connection, **options: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the gauges that are not 0, by name and labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for one in gauges(connection, **options):
        if one.value:
            found.setdefault(one.name, {})[tuple(filter(None, (one.queue, one.type, one.state)))] = one.value
    return found


def test_waiting_events_are_counted_by_queue_type_and_state(connection: Connection, outside: Outside) -> None:
    """Events, not rows: in single rows, in batches of several types, in rows of effects."""
    publish(connection, say("one"))
    publish(connection, *(say(f"{n}") for n in range(3)))
    publish(connection, *(want(f"{n}") for n in range(2)))
    publish(connection, want("later"), delay=60)
    event = want("parked", limit="account")
    raw = event.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(event, raw)], delay=60, attempt=0, limit=ConcurrencyLimit("account", 1))
    made_up = {**json.loads(say("x").json_bytes()), "type": "made/up"}
    both = {"attempt": 0, "events": [json.loads(say("y").json_bytes()), made_up, {"type": 3}, "no event"]}
    foreign = "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('events', %s, %s)"
    connection.execute(foreign, ["consume_parcel", json.dumps(both)])
    connection.execute(foreign, ["prune", "{}"])
    publish(connection, say("in hand"))
    connection.execute("UPDATE public.procrastinate_jobs SET priority = 99 WHERE args #>> '{data,word}' = 'in hand'")
    worker.fetch(connection, worker.register(connection))
    found = read(connection)
    assert found["waiting"] == {
        ("events", SAID, "due"): 5,
        ("events", "unknown", "due"): 3,
        ("toys", WANTED, "due"): 2,
        ("toys", WANTED, "later"): 1,
        ("toys", WANTED, "parked"): 1,
    }
    assert found["in_hand"] == {("events",): 1}
    assert "capped" not in found


def test_long_queues_are_read_in_part(connection: Connection, outside: Outside) -> None:
    """Each by itself. The counts are then lower bounds, which `capped` shows. The oldest row is still found."""
    publish_all(connection, (say(f"{n}") for n in range(6)), batch_size=1)
    for n in range(6):
        publish(connection, want(f"{n}"))
        publish(connection, say(f"{n}"), delay=60 + n)
    connection.execute(
        "UPDATE public.procrastinate_events SET at = now() - interval '5 minutes'"
        " WHERE job_id IN (SELECT min(id) FROM public.procrastinate_jobs GROUP BY queue_name)"
    )
    for priority in (1, 10):  # an indexed column: each update moves the rows to another place of the table
        connection.execute(
            "UPDATE public.procrastinate_jobs SET priority = CASE queue_name WHEN 'events' THEN %s ELSE %s END"
            " WHERE id IN (SELECT min(id) FROM public.procrastinate_jobs GROUP BY queue_name)",
            [priority, priority - 10],
        )
    assert "capped" not in read(connection, most=7)
    found = read(connection, most=6)
    assert found["capped"] == {("queue",): 1, ("delayed",): 1}
    found = read(connection, most=4)
    assert found["waiting"] == {
        ("events", SAID, "due"): 4,
        ("events", SAID, "later"): 4,
        ("toys", WANTED, "due"): 4,
    }
    oldest = read(connection, most=1)["oldest"]
    assert {300 <= oldest[queue,] < 360 for queue in ("events", "toys")} == {True}


def test_the_plan_does_not_depend_on_statistics(connection: Connection, outside: Outside) -> None:
    """The queue's tables are read by the indexes of the queue, of the time and of the priority, never as a whole."""
    publish_all(connection, (want(f"{n}") for n in range(300)), batch_size=1)
    with connection.transaction():
        connection.execute(module._LIMITS)  # noqa: SLF001 - how the statement is carried out is the rule here
        given: dict[str, Any] = {
            "queues": ["events", "toys"],
            "priorities": [10, 0],
            "stalled_after": 30.0,
            "most": 10,
            "bytes": 1000,
            "oldest": 10,
        }
        explained = b"EXPLAIN (COSTS OFF) " + module._GAUGES  # noqa: SLF001 - the same
        plan = "\n".join(line for (line,) in connection.execute(explained, given))
    read_by = {line.partition(" using ")[2].strip() for line in plan.splitlines() if " using " in line}
    assert {
        "procrastinate_jobs_queue_name_idx_v1 on procrastinate_jobs j",
        "procrastinate_jobs_priority_idx_v1 on procrastinate_jobs j_1",
        "delayed_due_at_idx on delayed d",
    } <= read_by
    assert "Seq Scan" not in plan
    assert "Bitmap" not in plan


def test_a_large_row_is_not_opened(connection: Connection, outside: Outside) -> None:
    """Beyond the limit of bytes a row counts as unread."""
    publish(connection, want("small"))
    publish(connection, say("x" * 200_000))
    found = read(connection, most_bytes=1000)
    assert found["waiting"] == {("toys", WANTED, "due"): 1}
    assert found["capped"] == {("queue",): 1}


def test_the_oldest_due_row_has_its_age(connection: Connection, outside: Outside) -> None:
    """Since it was published, or since its delay was over. Rows that are not due do not count."""
    publish(connection, say("later"), delay=60)
    assert "oldest" not in read(connection)
    publish(connection, say("old"))
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '5 minutes'")
    publish(connection, say("new"))
    assert 300 <= read(connection)["oldest"]["events",] < 360
    connection.execute("UPDATE engine.delayed SET due_at = now() - interval '10 minutes'")
    assert 600 <= read(connection)["oldest"]["events",] < 660


def test_workers_pauses_and_dead_letters(connection: Connection, outside: Outside) -> None:
    """A stalled worker serves no queue. A resolved dead letter does not count."""
    publish(connection, say("no", "bad"), say("neither", "bad"))
    drain(queues=["events"])
    connection.execute(
        "UPDATE engine.failed_jobs SET resolved_at = now() WHERE id = (SELECT id FROM engine.failed_jobs LIMIT 1)"
    )
    live, stalled = enlist(connection), enlist(connection)
    connection.execute("UPDATE engine.workers SET queues = '{events}' WHERE worker_id = %s", [live])
    connection.execute(
        "UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id = %s", [stalled]
    )
    pause(connection, "toys", actor="ana", reason="upgrade")
    found = read(connection)
    assert found["workers"] == {("live",): 1, ("stalled",): 1}
    assert found["serving"] == {("events",): 1}
    assert found["paused"] == {("toys",): 1}
    assert found["dead"] == {(SAID,): 1}


def test_every_queue_and_type_has_its_gauges(connection: Connection, outside: Outside) -> None:
    """With the value 0 if nothing waits, so that an alert that fired ends."""
    found = gauges(connection)
    assert Gauge("waiting", "toys", WANTED, "due", 0) in found
    assert Gauge("dead", None, SAID, None, 0) in found
    for name in ("oldest", "in_hand", "paused", "serving"):
        assert {one.queue for one in found if one.name == name} == {"events", "toys"}
