"""Rescues are counted by event: an event that crashed too many workers is buried, whatever row it is in."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.plan import letters, make
from app.engine.dead_letters.redeliver import redeliver
from app.engine.delivery.bury import bury
from app.engine.domain import Effect, Wiring
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.engine.worker.prune import prune
from app.testing import worker
from app.testing.faults import Fault
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Outside, say, want

_ROWS = "SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'todo'"
_COUNTS = "SELECT event_id, rescues FROM engine.event_rescues"
_DEAD = "SELECT event_id, error_class FROM engine.failed_jobs WHERE resolved_at IS NULL"


def long_grace_period(outside: Outside) -> Wiring:
    """The toy effect with a grace period of a minute."""
    effect = Effect(queue="toys", prepare=outside.prepare, call=outside.call, grace_period=lambda: 60.0)
    return Wiring(outside.wiring().handlers, {toy.Wanted: effect})


def crash(database: Database, connection: Connection, wiring: Wiring, most_rescues: int) -> None:
    """Deliver until a worker crashes in a call, and rescue it. Delays end."""
    for _ in range(5):
        worker.let_time_pass(connection)
        die_in_a_call(database, connection, wiring, Fault.DIES_BEFORE)
        if rescued(connection, most_rescues=most_rescues):
            return
    raise AssertionError("no worker died")


def test_a_call_that_crashes_its_workers_is_buried_after_the_limit(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """With one rescue allowed the second crash buries it, although it waited in a new row in between."""
    event = want("killer")
    wiring = long_grace_period(outside)
    with domain.use(wiring):
        publish(connection, event)
        crash(database, connection, wiring, most_rescues=1)
        assert (scalar(connection, _ROWS), scalar(connection, "SELECT count(*) FROM engine.failed_jobs")) == (1, 0)
        crash(database, connection, wiring, most_rescues=1)
    assert connection.execute(_DEAD).fetchall() == [(event.id, "KilledItsWorkers")]
    assert scalar(connection, _ROWS) == 0


@pytest.mark.parametrize("most", [1, 3])
def test_exactly_the_limit_leaves_it_waiting_and_one_more_buries_it(
    database: Database, connection: Connection, outside: Outside, most: int
) -> None:
    """For effects and for events of handlers."""
    wiring = long_grace_period(outside)
    with domain.use(wiring):
        publish(connection, want("killer"))
        for _ in range(most):
            crash(database, connection, wiring, most_rescues=most)
            assert connection.execute(_DEAD).fetchall() == []
            assert scalar(connection, _ROWS) == 1
        crash(database, connection, wiring, most_rescues=most)
    assert [name for _, name in connection.execute(_DEAD)] == ["KilledItsWorkers"]


def test_the_others_of_its_batch_are_delivered(database: Database, connection: Connection, outside: Outside) -> None:
    """Only the event over the limit is buried."""
    killer, *others = wanted = [want(f"w{n}") for n in range(4)]
    publish(connection, *wanted)
    connection.execute("INSERT INTO engine.event_rescues (event_id, rescues) VALUES (%s, 3)", [killer.id])
    die_in_a_call(database, connection, outside.wiring(), Fault.DIES_BEFORE)
    rescued(connection, most_rescues=3)
    assert connection.execute(_DEAD).fetchall() == [(killer.id, "KilledItsWorkers")]
    drain_all(connection)
    assert sorted(word for word, _ in outside.calls) == [event.data.word for event in others]


def test_a_rescue_passes_another_row_with_the_same_queueing_lock(connection: Connection, outside: Outside) -> None:
    """The freed row gives the lock up, and both are delivered."""
    publish(connection, say("held"))
    connection.execute("UPDATE public.procrastinate_jobs SET queueing_lock = 'one'")
    worker.fetch(connection, worker.register(connection))
    publish(connection, say("waiting"))
    connection.execute("UPDATE public.procrastinate_jobs SET queueing_lock = 'one' WHERE status = 'todo'")
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity'")
    (freed,) = rescued(connection)
    locks = dict(connection.execute("SELECT id, queueing_lock FROM public.procrastinate_jobs").fetchall())
    assert locks.pop(freed.row_id) is None
    assert list(locks.values()) == ["one"]
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 2


def test_rows_of_a_second_crash_are_delivered_apart(connection: Connection, outside: Outside) -> None:
    """One of the rows that the worker held may be the cause."""
    for n in range(3):
        publish(connection, say(f"w{n}"), batch_size=1)
    for _ in range(2):
        worker.let_time_pass(connection)
        worker_id = worker.register(connection)
        assert all(worker.fetch(connection, worker_id) for _ in range(3))
        connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity'")
        assert len(rescued(connection)) == 3
    waits = "SELECT round(extract(epoch FROM scheduled_at - now())) FROM public.procrastinate_jobs ORDER BY id"
    assert [wait for (wait,) in connection.execute(waits)] == [None, 1, 2]


def test_rescues_of_a_row_before_events_were_counted_count_too(connection: Connection, outside: Outside) -> None:
    """A row of an older version keeps its rescues."""
    publish(connection, say("old"))
    worker.fetch(connection, worker.register(connection))
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity'")
    connection.execute(
        "INSERT INTO engine.rescues (row_id, queue_name, attempts, reason)"
        " SELECT id, queue_name, 0, 'worker_gone' FROM public.procrastinate_jobs, generate_series(1, 3)"
    )
    rescued(connection, most_rescues=3)
    assert [name for _, name in connection.execute(_DEAD)] == ["KilledItsWorkers"]


def test_a_replay_begins_the_count_anew(connection: Connection, outside: Outside) -> None:
    """Burying resets the rescues."""
    event = say("mended")
    publish(connection, event)
    for _ in range(2):
        worker.fetch(connection, worker.register(connection))
        connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity'")
        rescued(connection, most_rescues=1)
    assert connection.execute(_COUNTS).fetchall() == []
    plan = make(connection, Filters(), actor="ana")
    with connection.transaction():
        redeliver(connection, letters(connection, plan.id))
    worker.fetch(connection, worker.register(connection))
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = '-infinity'")
    assert [row.rescues for row in rescued(connection, most_rescues=1)] == [1]
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1


def test_counts_are_deleted_with_their_event(connection: Connection, outside: Outside) -> None:
    """When it is buried, and by pruning when it was applied or is old."""
    buried, applied, old, kept = (say(word) for word in ("buried", "applied", "old", "kept"))
    for event in (buried, applied, old, kept):
        connection.execute("INSERT INTO engine.event_rescues (event_id, rescues) VALUES (%s, 1)", [event.id])
    connection.execute(
        "UPDATE engine.event_rescues SET last_at = now() - interval '91 days' WHERE event_id = %s", [old.id]
    )
    publish(connection, applied)
    drain_all(connection)
    bury(connection, [(QueuedEvent(0, 0, {"id": str(buried.id)}, buried), ValueError("no"))])
    prune(connection)
    left: list[UUID] = [event_id for event_id, _ in connection.execute(_COUNTS)]
    assert left == [kept.id]
