"""Delayed rows: rows that are not due wait outside the queue, and count as waiting."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest

from app import database as doors
from app.context import Connection
from app.engine.domain import ConcurrencyLimit
from app.engine.effects.concurrency import wake_all
from app.engine.inspect.backlog import backlogs
from app.engine.inspect.live_check import check
from app.engine.queue.delayed import Promoter, promote, take_scheduled
from app.engine.queue.publish import publish, put_back
from app.testing.published import assert_published
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.blocking_calls import until
from tests.helpers.support import deliver, drain, drain_all, scalar, waiting
from tests.helpers.toy import Outside, say, want

_QUEUE = "SELECT count(*) FROM public.procrastinate_jobs"
_DELAYED = "SELECT count(*) FROM engine.delayed"
_WORDS = "SELECT args #>> '{data,word}' FROM public.procrastinate_jobs ORDER BY id"
_DUE_NOW = "UPDATE engine.delayed SET due_at = clock_timestamp() - id * interval '1 second'"


def counts(connection: Connection) -> tuple[int, int]:
    """Return the number of rows in the queue, and of delayed rows."""
    return scalar(connection, _QUEUE), scalar(connection, _DELAYED)


def test_a_delayed_event_waits_outside_the_queue_until_it_is_due(connection: Connection, outside: Outside) -> None:
    """No fetch reads it. It is promoted when it is due."""
    publish(connection, say("later"), delay=3600)
    publish(connection, say("now"))
    assert counts(connection) == (1, 1)
    deliver(connection)
    assert promote(connection)[0] == 0
    assert counts(connection) == (0, 1)
    connection.execute(_DUE_NOW)
    assert promote(connection) == (1, None)
    assert counts(connection) == (1, 0)
    deliver(connection)
    assert sorted(word for (word,) in connection.execute("SELECT word FROM toy.heard")) == ["later", "now"]


def test_a_promoted_row_keeps_its_position(connection: Connection, outside: Outside) -> None:
    """Rows are delivered in the order of publication, whichever were delayed."""
    publish(connection, say("written first"), delay=3600)
    publish(connection, say("written second"))
    publish(connection, say("written third"), delay=60)
    connection.execute(_DUE_NOW)
    assert promote(connection)[0] == 2
    words = [word for (word,) in connection.execute(_WORDS)]
    assert words == ["written first", "written second", "written third"]


def test_a_woken_row_comes_before_later_ones(connection: Connection, outside: Outside) -> None:
    """Otherwise they would take the free slot, and it would be parked again behind them."""
    parked, later = want("parked"), want("later")
    raw = parked.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(parked, raw)], delay=300, attempt=0, limit=ConcurrencyLimit("account", 1))
    publish(connection, later)
    wake_all(connection)
    words = "SELECT args #>> '{events,0,data,word}' FROM public.procrastinate_jobs ORDER BY id"
    assert connection.execute(words).fetchall() == [("parked",), ("later",)]
    fetched = "SELECT (engine.fetch_share('toys', share, NULL)).id FROM engine.waiting_shares('{toys}', '', 1, 1)"
    assert scalar(connection, fetched) == scalar(connection, "SELECT min(id) FROM public.procrastinate_jobs")


def test_a_promoted_row_is_the_row_that_was_published(connection: Connection, outside: Outside) -> None:
    """Queue, task, priority and arguments are those of a row without a delay."""
    event = say("same")
    read = "SELECT to_jsonb(j) - 'id' FROM public.procrastinate_jobs j"
    publish(connection, event)
    at_once = connection.execute(read).fetchall()
    connection.execute("DELETE FROM public.procrastinate_jobs")
    publish(connection, event, delay=60)
    connection.execute(_DUE_NOW)
    promote(connection)
    assert connection.execute(read).fetchall() == at_once


def test_a_parked_row_needs_a_delay(connection: Connection, outside: Outside) -> None:
    """Without one it could wait forever."""
    with pytest.raises(ValueError, match=r"^0$"):
        put_back(connection, [(want("w"), {})], delay=0, attempt=0, limit=ConcurrencyLimit("account", 1))


def test_every_limit_with_a_free_slot_is_woken(connection: Connection, outside: Outside) -> None:
    """One row of each limit at a time, the longest parked."""
    for word in ("first", "second"):
        for key in ("a", "b", "c"):
            event = want(f"{word} of {key}")
            raw = event.model_dump(mode="json", exclude_none=True)
            put_back(connection, [(event, raw)], delay=300, attempt=0, limit=ConcurrencyLimit(key, 1))
    wake_all(connection)
    words = "SELECT args #>> '{events,0,data,word}' FROM public.procrastinate_jobs ORDER BY id"
    assert connection.execute(words).fetchall() == [("first of a",), ("first of b",), ("first of c",)]
    assert counts(connection) == (3, 3)


def test_promoting_returns_when_the_next_row_is_due(connection: Connection, outside: Outside) -> None:
    """In seconds by the database's clock; None without delayed rows."""
    assert promote(connection) == (0, None)
    publish(connection, say("later"), delay=3600)
    moved, next_s = promote(connection)
    assert moved == 0
    assert next_s is not None
    assert 3590 < next_s <= 3600


def test_a_delay_is_kept_or_lost_with_the_transaction(connection: Connection, outside: Outside) -> None:
    """A rollback of the publisher leaves nothing, a rollback of a promotion leaves the row delayed."""
    with connection.transaction(force_rollback=True):
        publish(connection, say("never"), delay=60)
    assert counts(connection) == (0, 0)
    publish(connection, say("kept"), delay=60)
    connection.execute(_DUE_NOW)
    with connection.transaction(force_rollback=True):
        promote(connection)
    assert counts(connection) == (0, 1)


def test_two_workers_never_promote_one_row_twice(database: Database, connection: Connection, outside: Outside) -> None:
    """Rows that another transaction promotes are skipped without waiting."""
    publish(connection, *[say(f"w{n}") for n in range(3)], delay=60, batch_size=1)
    connection.execute(_DUE_NOW)
    with doors.connect(database.url) as other:
        assert promote(other)[0] == 3
        assert promote(connection)[0] == 0
        other.commit()
    assert counts(connection) == (3, 0)


def test_an_event_is_put_back_with_its_attempt(connection: Connection, outside: Outside) -> None:
    """The next delivery has the attempt."""
    event = say("again")
    raw = event.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(event, raw)], delay=60, attempt=2, error="Transient: not now")
    assert counts(connection) == (0, 1)
    connection.execute(_DUE_NOW)
    promote(connection)
    args = scalar(connection, "SELECT args FROM public.procrastinate_jobs")
    assert (args["attempt"], args["error"], args["events"]) == (2, "Transient: not now", [raw])


def test_a_delayed_event_counts_as_waiting(connection: Connection, outside: Outside) -> None:
    """For the check before a deployment, the plugin's assertion and the backlog."""
    publish(connection, event := say("later"), delay=3600)
    assert [(one.id, one.place) for one in assert_published(connection, toy.Said)] == [(event.id, "waiting")]
    assert check(connection).looked_at["waiting"] == 1
    assert [(one.due, one.later) for one in backlogs(connection) if one.queue_name == "events"] == [(0, 1)]
    assert waiting(connection) == 1


def test_a_promoter_moves_a_row_when_its_time_comes(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The notification of a row that is due soon wakes a sleeping promoter."""

    async def run() -> float:
        with doors.pool() as pool:
            promoter = Promoter(pool, 3600.0)
            assert await promoter.promote_due() == 3600.0
            publish(connection, say("soon"), delay=0.2)
            pause = await promoter.promote_due()
            assert 0 < pause <= 0.2
            running = asyncio.create_task(promoter.run())
            await until(lambda: scalar(connection, _QUEUE) == 1)
            promoter.stop()
            await running
            return pause

    asyncio.run(run())
    assert counts(connection) == (1, 0)


def test_a_row_that_is_due_soon_is_notified_and_a_later_one_is_not(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Promoters check every few seconds anyway, so only short delays need a notification."""
    with doors.connect(database.url, autocommit=True) as listener:
        listener.execute('LISTEN "procrastinate_queue_v1#events"')
        publish(connection, say("in an hour"), delay=3600)
        publish(connection, say("soon"), delay=1)
        heard = [notification.payload for notification in listener.notifies(timeout=5, stop_after=1)]
    assert heard == ['{"type": "row_delayed"}']


def test_scheduled_rows_of_an_older_version_are_moved(connection: Connection, outside: Outside) -> None:
    """They keep their time. Parked rows and other programs' rows stay."""
    publish(connection, say("scheduled"), want("parked"))
    connection.execute("UPDATE public.procrastinate_jobs SET scheduled_at = now() + interval '1 hour'")
    connection.execute(
        "INSERT INTO engine.parked (row_id, key)"
        " SELECT id, 'k' FROM public.procrastinate_jobs WHERE queue_name = 'toys'"
    )
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, scheduled_at)"
        " VALUES ('default', 'other.task', now() + interval '1 hour')"
    )
    assert take_scheduled(connection, 100) == 1
    assert counts(connection) == (2, 1)
    left = scalar(connection, "SELECT due_at - now() FROM engine.delayed")
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_rows_parked_by_an_older_version_are_woken_first(connection: Connection, outside: Outside) -> None:
    """They are older than those in `engine.delayed`."""
    publish(connection, want("old"))
    connection.execute("UPDATE public.procrastinate_jobs SET scheduled_at = now() + interval '1 hour'")
    connection.execute("INSERT INTO engine.parked (row_id, key) SELECT id, 'k' FROM public.procrastinate_jobs")
    publish(connection, want("new"), delay=300)
    connection.execute("UPDATE engine.delayed SET key = 'k', most = 2")
    row_id = scalar(connection, "SELECT id FROM public.procrastinate_jobs")
    assert scalar(connection, "SELECT engine.wake_parked('k', 2)") == row_id
    assert counts(connection) == (1, 1)
    assert scalar(connection, "SELECT engine.wake_parked('k', 2)") == row_id + 1
    assert counts(connection) == (2, 0)
    assert scalar(connection, "SELECT engine.wake_parked('k', 2)") is None


def test_fetching_and_promoting_read_an_index_however_much_is_delayed(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """With the statistics of an empty table, no plan sorts or scans."""
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        admin.execute("ANALYZE engine.delayed")
        publish(connection, *[say(f"w{n}") for n in range(3000)], delay=3600, batch_size=1)
        admin.execute("LOAD 'auto_explain'")
        for name, value in {"log_min_duration": "0", "log_nested_statements": "on", "log_level": "notice"}.items():
            admin.execute(f"SET auto_explain.{name} = {value}")
        plans: list[str] = []
        admin.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        admin.execute("SELECT engine.promote(1000)")
    moving = [plan for plan in plans if "SKIP LOCKED" in plan]
    assert len(moving) == 1
    assert "delayed_due_at_idx" in moving[0]
    assert "Seq Scan on delayed" not in moving[0]


def test_a_worker_delivers_what_becomes_due_while_it_runs(connection: Connection, outside: Outside) -> None:
    """A real worker with its promoter applies an event that was put back."""
    publish(connection, say("moody", "later"))
    drain()
    assert counts(connection) == (0, 1)
    drain_all(connection)
    assert waiting(connection) == 0
