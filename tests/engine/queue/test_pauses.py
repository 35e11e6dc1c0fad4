"""Pauses: no worker fetches from a paused queue, running deliveries are finished, and the audit log has the actor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import events
from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.audit_log import history
from app.engine.domain import Call, ConcurrencyLimit, Effect, Prepared
from app.engine.effects.concurrency import wake_all
from app.engine.inspect.backlog import Backlog, backlogs
from app.engine.queue.delayed import promote
from app.engine.queue.pauses import pause, pauses, resume
from app.engine.queue.publish import publish, put_back
from app.errors import InvalidInput
from events import Event, Payload
from events.order import OrderUpdated
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.operators import work_once
from tests.helpers.support import drain, drain_all, scalar
from tests.helpers.toy import Outside, say, want
from tests.helpers.waits import until
from tests.helpers.workers import worker_pool


def heard(connection: Connection) -> list[str]:
    """Return the applied words, in alphabetical order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word, id")]


def test_only_the_other_queues_are_served(connection: Connection, outside: Outside) -> None:
    """After the pause all are served again."""
    pause(connection, "toys", actor="ana", reason="the portal is down")
    publish(connection, say("served"), want("left"))
    work_once()
    assert heard(connection) == ["served"]
    assert outside.calls == []
    resume(connection, "toys", actor="ana")
    drain_all(connection)
    assert heard(connection) == ["left: made", "served"]


def test_a_worker_of_paused_queues_alone_takes_nothing(connection: Connection, outside: Outside) -> None:
    """It fetches no row."""
    pause(connection, "events", actor="ana", reason="a look at the data")
    publish(connection, say("left"))
    work_once(queues=["events"])
    assert heard(connection) == []
    assert scalar(connection, "SELECT status::text FROM public.procrastinate_jobs") == "todo"


def test_due_rows_of_a_paused_queue_wait(connection: Connection, outside: Outside) -> None:
    """Delayed, put-back and parked rows are promoted, and not fetched."""
    pause(connection, "toys", actor="ana", reason="the portal is down")
    pause(connection, "events", actor="ana", reason="a look at the data")
    later, parked = want("later"), want("parked")
    publish(connection, say("an event"), later, delay=3600)
    raw = parked.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(parked, raw)], delay=300, attempt=0, limit=ConcurrencyLimit("account", 1))
    connection.execute("UPDATE engine.delayed SET due_at = now() WHERE key IS NULL")
    wake_all(connection)
    work_once()
    assert promote(connection) == (0, None)
    rows = "SELECT status::text, attempts FROM public.procrastinate_jobs WHERE task_name <> 'prune'"
    statuses = connection.execute(rows).fetchall()
    assert (heard(connection), outside.calls, statuses) == ([], [], [("todo", 0)] * 3)
    for queue in ("toys", "events"):
        resume(connection, queue, actor="ana")
    drain_all(connection)
    assert heard(connection) == ["an event", "later: made", "parked: made"]


def test_a_call_in_progress_is_finished(database: Database, connection: Connection, outside: Outside) -> None:
    """Its outcome is recorded."""

    async def call(prepared: Prepared, _call: Call) -> Payload:
        with doors.connect(database.url) as other:
            pause(other, "toys", actor="ana", reason="enough")
        return toy.Made(word=prepared.work.word, outcome="made")

    wiring = outside.wiring()
    effects: dict[type[Payload], Effect] = {toy.Wanted: replace(wiring.effects[toy.Wanted], call=call)}
    with domain.use(domain.Wiring(wiring.handlers, effects)):
        publish(connection, want("begun"))
        work_once()
        assert list(pauses(connection)) == ["toys"]
        drain(queues=["events"])
    assert heard(connection) == ["begun: made"]


def test_pauses_are_in_the_audit_log(connection: Connection, outside: Outside) -> None:
    """Each change once. Pausing a paused queue and resuming another one change nothing."""
    first = pause(connection, "toys", actor="ana", reason="the portal\n is down")
    again = pause(connection, "toys", actor="ben", reason="me too")
    assert (first.is_new, again.is_new) == (True, False)
    assert again == first
    assert (first.paused_by, first.reason) == ("ana", "the portal is down")
    ended = resume(connection, "toys", actor="ben", reason="it is up again")
    assert ended == first
    assert resume(connection, "toys", actor="ben") is None
    found = [(one.actor, one.action, one.subject, one.reason) for one in history(connection)]
    assert found == [("ben", "resume", "toys", "it is up again"), ("ana", "pause", "toys", "the portal is down")]
    assert history(connection)[0].details["paused_by"] == "ana"


@pytest.mark.parametrize(
    ("queue", "actor", "reason", "words"),
    [
        ("toy", "ana", "why", "queue: there is no 'toy'; there are events, toys"),
        ("toys", " ", "why", "actor: must not be empty"),
        ("toys", "ana", "\n", "reason: must not be empty"),
        ("toys", "ana", "a\x00b", "reason: must not be empty or hold control characters"),
    ],
)
def test_a_bad_pause_is_refused(
    connection: Connection, outside: Outside, queue: str, actor: str, reason: str, words: str
) -> None:
    """Nothing is recorded. The error for an unknown queue names the known ones."""
    with pytest.raises(InvalidInput, match=words):
        pause(connection, queue, actor=actor, reason=reason)
    assert (pauses(connection), history(connection)) == ({}, [])


def test_a_queue_that_is_gone_can_still_be_resumed(connection: Connection, outside: Outside) -> None:
    """A pause may outlive the last event type of its queue."""
    pause(connection, "toys", actor="ana", reason="why")
    with domain.use(domain.Wiring({toy.Said: toy.hear}, {})):
        assert [one.queue_name for one in backlogs(connection)] == ["events", "toys"]
        assert resume(connection, "toys", actor="ana") is not None
        with pytest.raises(InvalidInput, match=r"there are events$"):
            resume(connection, "toys", actor="ana")


def test_the_backlog_counts_rows_by_state(connection: Connection, outside: Outside) -> None:
    """Due, put back, parked and in delivery, with the age of the oldest due row."""
    publish(connection, want("due"))
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '10 minutes'")
    publish(connection, want("due too"))
    publish(connection, want("later"), delay=60)
    publish(connection, want("parked"), delay=60)
    connection.execute("UPDATE engine.delayed SET key = 'x', most = 1 WHERE id = (SELECT max(id) FROM engine.delayed)")
    publish(connection, say("in hand"))
    connection.execute("SELECT FROM procrastinate_fetch_job_v2(ARRAY['events']::varchar[], NULL)")
    paused = pause(connection, "toys", actor="ana", reason="why")
    events_queue, toys = backlogs(connection)
    assert (events_queue.due, events_queue.in_hand, events_queue.oldest) == (0, 1, None)
    assert toys == Backlog("toys", due=2, later=1, parked=1, oldest=toys.oldest, pause=paused)
    assert toys.oldest is not None
    assert timedelta(minutes=10) <= toys.oldest < timedelta(minutes=11)


IN_TIME = timedelta(seconds=1)


def fact() -> Event[Any]:
    """Return an event of this program whose handler changes nothing."""
    said = OrderUpdated(order_id=uuid4(), before={"city": "Cali"}, after={"city": "Bogotá"})
    return events.new(said, now=datetime.now(UTC), subject=None, tenant=None)


@pytest.fixture
def listener(database: Database) -> Iterator[Connection]:
    """A connection that only listens."""
    with doors.connect(database.url, autocommit=True) as opened:
        yield opened


def applied(connection: Connection) -> int:
    """Return the number of events in the ledger."""
    return int(scalar(connection, "SELECT count(*) FROM engine.event_log"))


def test_running_workers_obey_within_a_second(
    connection: Connection, listener: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load, within a second of the commit, without a poll."""
    monkeypatch.setenv("TALLYMAN_POLLING_INTERVAL", "5")
    with worker_pool(tmp_path) as workers:
        workers.work()
        publish(connection, fact())
        until(listener, lambda: applied(connection) == 1)
        since = pause(connection, "events", actor="ana", reason="a test").paused_at
        sent = 1
        while scalar(connection, "SELECT now() < %s + interval '2 seconds'", since):
            publish(connection, fact())
            sent += 1
        left = sent - applied(connection)
        assert left > 0
        assert scalar(connection, "SELECT max(applied_at) FROM engine.event_log") - since < IN_TIME
        # The worker looks, finds nothing and lies down; only then is it the word of the resumption that wakes it.
        until(listener, lambda: scalar(connection, "SELECT now() > %s + interval '2.5 seconds'", since))
        resume(connection, "events", actor="ana")
        until(listener, lambda: applied(connection) == sent)
        resumed = scalar(connection, "SELECT at FROM engine.actions WHERE action = 'resume'")
        first = scalar(connection, "SELECT min(applied_at) FROM engine.event_log WHERE applied_at > %s", resumed)
        assert first - resumed < IN_TIME


def test_a_pause_survives_its_workers(connection: Connection, listener: Connection, tmp_path: Path) -> None:
    """A worker that starts during a pause serves only the other queue."""
    pause(connection, "robots", actor="ana", reason="a test")
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('robots', 'perform', '{}')"
    )
    with worker_pool(tmp_path) as workers:
        workers.work("-q", "events", "-q", "robots")
        for count in range(1, 6):
            publish(connection, fact())
            until(listener, lambda count=count: applied(connection) == count)  # type: ignore[misc]
        assert scalar(connection, "SELECT status::text FROM public.procrastinate_jobs") == "todo"
        resume(connection, "robots", actor="ana")
        until(listener, lambda: scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 1)
