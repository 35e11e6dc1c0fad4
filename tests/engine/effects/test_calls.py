"""Calls of effects: their keys and marks, and their grace periods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import manage
from app.engine.delivery.bury import bury
from app.engine.domain import Wiring
from app.engine.effects import calls
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.engine.worker.prune import prune
from app.errors import InDoubt
from app.testing import worker
from app.testing.faults import Fault
from events import Event
from tests.conftest import Database
from tests.helpers.calls import keyed, word_key
from tests.helpers.dead_letters import begin_call, make_call
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Outside, Wanted, want

_KEYS = "SELECT call_key FROM engine.calls"
_LETTER = "SELECT id FROM engine.failed_jobs WHERE resolved_at IS NULL"


@pytest.fixture
def wiring(outside: Outside) -> Iterator[Wiring]:
    """The wiring with call keys."""
    with domain.use(keyed(outside)) as _:
        yield keyed(outside)


def test_two_events_of_a_batch_with_one_key_make_one_call(
    connection: Connection, outside: Outside, wiring: Wiring
) -> None:
    """The second one waits, and needs no call afterwards."""
    publish(connection, want("same"), want("same"), want("other"))
    drain_all(connection)
    assert sorted(word for word, _ in outside.calls) == ["other", "same"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE type = 'toy/call.wanted'") == 3
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_a_call_that_another_event_left_behind_is_in_doubt(
    database: Database, connection: Connection, outside: Outside, wiring: Wiring
) -> None:
    """The worker crashed in the call of one event. The other event with its key asks first."""
    publish(connection, want("same"))
    die_in_a_call(database, connection, wiring, Fault.DIES_BEFORE)
    rescued(connection, most_rescues=0)
    publish(connection, want("same"))
    drain_all(connection)
    assert [call.in_doubt for _, call in outside.calls] == [True]


def test_a_call_that_another_event_makes_is_waited_for(
    database: Database, connection: Connection, outside: Outside, wiring: Wiring
) -> None:
    """While a live delivery makes the call, the other event is put back."""
    publish(connection, held := want("same"))
    worker.fetch(connection, worker.register(connection))
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, worker_id)"
        " SELECT %s, %s, id, attempts, worker_id FROM public.procrastinate_jobs",
        [word_key(held), held.id],
    )
    publish(connection, want("same"))
    die_in_a_call(database, connection, wiring, Fault.DIES_BEFORE)
    assert outside.calls == []
    assert scalar(connection, "SELECT count(*) FROM engine.delayed WHERE due_at > now()") == 1


def test_a_mark_of_an_older_version_is_found(connection: Connection, outside: Outside, wiring: Wiring) -> None:
    """It is stored under the event's id, as before call keys existed. The call is in doubt."""
    event = want("old")
    connection.execute("INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, 0, 0)", [event.id])
    assert scalar(connection, _KEYS) == event.id
    publish(connection, event)
    drain_all(connection)
    assert [call.in_doubt for _, call in outside.calls] == [True]
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_two_marks_of_one_call_become_one(connection: Connection, outside: Outside, wiring: Wiring) -> None:
    """One was made under the event's id, one under the key."""
    event, other = want("same"), want("same")
    for key, event_id in ((event.id, event.id), (word_key(other), other.id)):
        connection.execute(
            "INSERT INTO engine.calls (call_key, event_id, row_id, attempts) VALUES (%s, %s, 0, 0)", [key, event_id]
        )
    publish(connection, event)
    drain_all(connection)
    assert [call.in_doubt for _, call in outside.calls] == [True]
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_an_event_that_dies_after_a_resolution_gets_a_new_letter(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The first letter stays resolved. Pruning keeps the mark of the call."""
    publish(connection, event := want("twice"))
    die_in_a_call(database, connection, outside.wiring(), Fault.DIES_BEFORE)
    rescued(connection, most_rescues=0)
    manage.resolve(connection, [event.id], note="seen to", actor="ana")
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now() - interval '100 days'")
    resolved = scalar(connection, "SELECT resolved_at FROM engine.failed_jobs")
    bury(connection, [(QueuedEvent(0, 0, {**_raw(event)}, event), InDoubt("again"))])
    found = "SELECT error_class, resolved_at FROM engine.failed_jobs ORDER BY failed_at"
    assert connection.execute(found).fetchall() == [("KilledItsWorkers", resolved), ("InDoubt", None)]
    prune(connection)
    assert connection.execute(found).fetchall() == [("InDoubt", None)]
    assert scalar(connection, _KEYS) == event.id


def _raw(event: Event[Wanted]) -> dict[str, object]:
    return dict(event.model_dump(mode="json", exclude_none=True))


def begun(connection: Connection, *events: Event[Any]) -> None:
    """Mark calls as begun by deliveries that are gone."""
    for event in events:
        begin_call(connection, event)


def test_the_grace_period_of_a_call_left_behind_begins_once(connection: Connection, outside: Outside) -> None:
    """It is the time until the other side may be asked about the last of the calls."""
    first, second, busy = want("first"), want("second"), want("busy")
    begun(connection, first, second)
    make_call(connection, busy)
    assert calls.grace_left(connection, [first.id]) == 0
    calls.begin_grace_period(connection, [first.id, busy.id], 60)
    calls.begin_grace_period(connection, [first.id, second.id], 600)
    assert 50 < calls.grace_left(connection, [first.id]) <= 60
    assert 590 < calls.grace_left(connection, [first.id, second.id]) <= 600
    assert calls.grace_left(connection, [busy.id]) == 0
    connection.execute("UPDATE engine.calls SET ask_after = now() - interval '1 hour'")
    assert calls.grace_left(connection, [first.id, second.id]) == 0


def test_a_call_is_in_hand_while_it_is_made_or_in_its_grace_period(connection: Connection, outside: Outside) -> None:
    """So is the call of a delivery that was rescued within the grace period."""
    busy, waiting_, rescued_, over, unknown = (want(word) for word in ("busy", "waiting", "rescued", "over", "unknown"))
    make_call(connection, busy)
    begun(connection, waiting_, over)
    calls.begin_grace_period(connection, [waiting_.id], 60)
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts) VALUES (%s, %s, 77, 0)", [rescued_.id] * 2
    )
    connection.execute(
        "INSERT INTO engine.rescues (row_id, queue_name, attempts, at, reason)"
        " VALUES (77, 'toys', 0, now() - interval '30 s', 'worker_gone')"
    )
    for event, expected in ((busy, True), (waiting_, True), (rescued_, True), (over, False), (unknown, False)):
        assert calls.in_hand(connection, [event.id], 60) is expected, event.data.word
    assert not calls.in_hand(connection, [rescued_.id], 10)
    assert calls.live(connection, [busy.id, waiting_.id, over.id]) == {busy.id}


def test_seized_calls_cannot_begin_until_the_transaction_ends(connection: Connection, outside: Outside) -> None:
    """The result distinguishes calls in doubt and fresh ones. A call in progress is left out."""
    doubtful, fresh, busy = want("doubtful"), want("fresh"), want("busy")
    begun(connection, doubtful)
    make_call(connection, busy)
    with connection.transaction():
        seized = calls.seize_calls(connection, {event.id: event.id for event in (doubtful, fresh, busy)})
        assert seized == {doubtful.id: True, fresh.id: False}
        assert calls.live(connection, list(seized)) == set()
        calls.end_calls(connection, list(seized))
    assert scalar(connection, "SELECT array_agg(event_id) FROM engine.calls") == [busy.id]
