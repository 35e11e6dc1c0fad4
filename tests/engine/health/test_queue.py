"""Checkups of the queue: workers, backlogs, stuck deliveries, dead letters, and table bloat."""

from __future__ import annotations

import re

from app.context import Connection
from app.engine.health.doctor import Finding, Limits, check_context, examine
from app.engine.health.queue import QUEUE
from app.engine.queue.pauses import pause
from app.engine.queue.publish import publish
from tests.helpers.health_fixtures import enlist, of
from tests.helpers.support import drain, scalar
from tests.helpers.toy import Outside, say, want


def take(connection: Connection, worker: int) -> int:
    """The worker takes a row."""
    return int(scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker))


def test_workers_that_are_dead_old_or_missing_are_told(connection: Connection, outside: Outside) -> None:
    """No worker, one without a heartbeat, one of an older program."""
    assert of("workers") == [("warning", "no worker is alive")]
    old = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    assert of("workers") == [("warning", "no worker is alive")]
    publish(connection, say("in hand"))
    take(connection, old)
    ((level, what),) = of("workers")
    assert (level, "is of an older program" in what) == ("warning", True)
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    none, dead, _old = of("workers")
    assert none == ("warning", "no worker is alive")
    assert (dead[0], bool(re.search(r"for 36\d\d s and counts as dead", dead[1]))) == ("warning", True)


def test_workers_of_different_programs_are_told(connection: Connection, outside: Outside) -> None:
    """Of another version, or of the same version with other events, while both run."""
    one, two = enlist(connection), enlist(connection)
    assert of("workers") == [("ok", "workers are alive")]
    change = "UPDATE engine.workers SET version = %s, knows = %s WHERE worker_id = %s"
    for version, knows in (("0.0.1", None), ("1", "abc")):
        connection.execute(change, [version, knows, two])
        ((level, what),) = of("workers")
        assert (level, "workers of 2 programs are running" in what) == ("warning", True)
        assert all(f"{worker} (" in what for worker in (one, two))
    long_ago = "UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 h' WHERE id = %s"
    connection.execute(long_ago, [two])
    assert "programs" not in str(of("workers"))


def test_a_queue_that_does_not_keep_up_is_told(connection: Connection, outside: Outside, worker: int) -> None:
    """Its oldest row waits for longer than five minutes."""
    publish(connection, say("old"))
    assert of("queues") == [("ok", "no event waits too long")]
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '6 minutes'")
    ((level, what),) = of("queues")
    assert (level, "events does not keep up; 1 waiting, the oldest for 36" in what) == ("warning", True)


def test_a_queue_that_nobody_serves_is_a_problem(connection: Connection, outside: Outside, worker: int) -> None:
    """As soon as something waits in it."""
    connection.execute("UPDATE engine.workers SET queues = '{toys}'")
    assert of("queues") == [("ok", "no event waits too long")]
    publish(connection, say("lonely"))
    ((level, what),) = of("queues")
    assert (level, what.startswith("no worker serves events; 1 waiting")) == ("problem", True)


def test_a_pause_is_no_fault_but_is_told(connection: Connection, outside: Outside, worker: int) -> None:
    """It is an info, however long the rows wait."""
    publish(connection, want("old"))
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '6 minutes'")
    pause(connection, "toys", actor="ana", reason="the portal is down")
    ((level, what),) = of("queues")
    assert (level, "by ana: the portal is down; 1 waiting" in what) == ("info", True)


def test_rows_that_the_queue_failed_are_told(connection: Connection, outside: Outside, worker: int) -> None:
    """No worker delivers them."""
    publish(connection, say("failed"))
    connection.execute("UPDATE public.procrastinate_jobs SET status = 'failed'")
    ((level, what),) = of("queues")
    assert (level, what.startswith("events: 1 failed in the queue itself")) == ("warning", True)


def test_rows_of_workers_that_are_gone_are_told(connection: Connection, outside: Outside, worker: int) -> None:
    """A warning while a live worker can rescue them, and a problem if there is none."""
    publish(connection, say("orphan"))
    row = take(connection, worker)
    assert of("deliveries") == [("ok", "no delivery is stuck")]
    connection.execute("UPDATE public.procrastinate_jobs SET worker_id = NULL")
    what = f"1 in hand of workers that are gone: row {row} (consume, events)"
    assert of("deliveries") == [("warning", what)]
    connection.execute("DELETE FROM public.procrastinate_workers")
    assert of("deliveries") == [("problem", what)]


def test_rows_that_are_in_hand_for_too_long_are_a_problem(
    connection: Connection, outside: Outside, worker: int
) -> None:
    """Longer than a delivery may run, even if the worker's heartbeat is fresh."""
    publish(connection, say("endless"))
    row = take(connection, worker)
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '31 minutes'")
    what = f"1 in hand for longer than 1800 s: row {row} (consume, events)"
    assert of("deliveries") == [("problem", what)]


def test_unresolved_dead_letters_are_told(connection: Connection, outside: Outside, worker: int) -> None:
    """Their number, and the time of the oldest. Resolved ones do not count."""
    publish(connection, say("a", "bad"), say("b", "bad"))
    drain()
    ((level, what),) = of("dead letters")
    assert (level, what.startswith("2 unresolved, the oldest since 20")) == ("warning", True)
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now()")
    assert of("dead letters") == [("ok", "there are none")]


def test_a_table_that_is_not_vacuumed_is_told(connection: Connection, outside: Outside, worker: int) -> None:
    """The number of its dead rows, and the last autovacuum."""
    publish(connection, *[say(f"w{n}") for n in range(10)], batch_size=1)
    connection.execute("DELETE FROM public.procrastinate_jobs")
    connection.execute("SELECT pg_stat_force_next_flush()")
    names = [what.partition(" ")[0] for level, what in of("tables", Limits(most_dead_rows=9)) if level == "warning"]
    assert "public.procrastinate_jobs" in names
    assert of("tables") == [("ok", "the queue's tables are vacuumed")]


def test_a_healthy_queue_has_one_ok_finding_of_each_checkup(
    connection: Connection, outside: Outside, worker: int
) -> None:
    """The finding has the checkup's message, and no remedy."""
    with check_context() as context:
        found = examine(context, QUEUE)
    assert found == [Finding("ok", checkup.subject, checkup.ok_message) for checkup in QUEUE]
