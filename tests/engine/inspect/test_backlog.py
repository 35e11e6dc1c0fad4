"""Backlog of each queue: waiting rows, age of the oldest, pauses, and live workers."""

from __future__ import annotations

from datetime import timedelta

from app.context import Connection
from app.engine.domain import ConcurrencyLimit
from app.engine.inspect.backlog import Backlog, backlogs
from app.engine.queue.pauses import pause
from app.engine.queue.publish import publish, put_back
from app.testing import worker
from tests.helpers.health_fixtures import enlist
from tests.helpers.toy import Outside, say, want

_FOREIGN = "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('other', 'mail', '{}')"


def of(connection: Connection, queue: str) -> Backlog:
    """Return the backlog of a queue."""
    (found,) = (one for one in backlogs(connection) if one.queue_name == queue)
    return found


def test_rows_are_counted_by_state(connection: Connection, outside: Outside) -> None:
    """A delayed row that is due counts as due, although no promoter has moved it into the queue."""
    for word in ("in hand", "failed", "due", "due now"):
        publish(connection, want(word))
    fetched = worker.fetch(connection, worker.register(connection))
    assert fetched is not None
    connection.execute(
        "UPDATE public.procrastinate_jobs SET status = 'failed' WHERE args #>> '{events,0,data,word}' = 'failed'"
    )
    publish(connection, want("later"), delay=60)
    publish(connection, want("over"), delay=60)
    connection.execute(
        "UPDATE engine.delayed SET due_at = now() - interval '1 s' WHERE args #>> '{events,0,data,word}' = 'over'"
    )
    event = want("parked", limit="account")
    raw = event.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(event, raw)], delay=60, attempt=0, limit=ConcurrencyLimit("account", 1))
    found = of(connection, "toys")
    assert (found.due, found.later, found.parked, found.in_hand, found.failed) == (3, 1, 1, 1, 1)
    other = of(connection, "events")
    assert (other.due, other.later, other.parked, other.in_hand, other.failed, other.oldest) == (0, 0, 0, 0, 0, None)


def test_the_oldest_due_row_has_its_age(connection: Connection, outside: Outside) -> None:
    """Since it was published, or since its delay was over. Rows that are not due do not count."""
    publish(connection, say("later"), delay=60)
    assert of(connection, "events").oldest is None
    publish(connection, say("old"))
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '5 minutes'")
    publish(connection, say("new"))
    minute = timedelta(minutes=1)
    age = of(connection, "events").oldest
    assert age is not None
    assert 5 * minute <= age < 6 * minute
    connection.execute("UPDATE engine.delayed SET due_at = now() - interval '10 minutes'")
    age = of(connection, "events").oldest
    assert age is not None
    assert 10 * minute <= age < 11 * minute


def test_pauses_and_live_workers_are_listed(connection: Connection, outside: Outside) -> None:
    """A worker whose heartbeat is too old serves no queue."""
    paused = pause(connection, "toys", actor="ana", reason="upgrade")
    alive, stale = enlist(connection), enlist(connection)
    connection.execute("UPDATE engine.workers SET queues = '{events}' WHERE worker_id = %s", [alive])
    connection.execute(
        "UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id = %s", [stale]
    )
    assert of(connection, "events") == Backlog("events", workers=(alive,))
    assert of(connection, "toys") == Backlog("toys", pause=paused)


def test_queues_of_other_programs_are_left_out(connection: Connection, outside: Outside) -> None:
    """Unless they have rows of this program, for example of an older version with other queues."""
    connection.execute(_FOREIGN)
    publish(connection, say("word"))
    connection.execute("UPDATE public.procrastinate_jobs SET queue_name = 'former' WHERE queue_name = 'events'")
    assert [one.queue_name for one in backlogs(connection)] == ["events", "former", "toys"]
    assert of(connection, "former").due == 1
