"""The key of a call: calls of one key are never made side by side, and a doubt is found whichever event asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import manage
from app.engine.delivery.bury import bury
from app.engine.domain import Wiring
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.engine.worker.prune import prune
from app.errors import InDoubt
from app.testing import worker
from app.testing.faults import Fault
from events import Event
from tests.conftest import Database
from tests.helpers.calls import keyed, word_key
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Outside, Wanted, want

_KEYS = "SELECT call_key FROM engine.calls"
_LETTER = "SELECT id FROM engine.failed_jobs WHERE resolved_at IS NULL"


@pytest.fixture
def wiring(outside: Outside) -> Iterator[Wiring]:
    """The keyed effect in force."""
    with domain.use(keyed(outside)) as _:
        yield keyed(outside)


def test_two_events_of_a_batch_that_ask_for_one_call_make_one(
    connection: Connection, outside: Outside, wiring: Wiring
) -> None:
    """The first one calls; the second waits, and finds that it is done."""
    publish(connection, want("same"), want("same"), want("other"))
    drain_all(connection)
    assert sorted(word for word, _ in outside.calls) == ["other", "same"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE type = 'toy/call.wanted'") == 3
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_a_call_that_another_event_left_behind_is_in_doubt(
    database: Database, connection: Connection, outside: Outside, wiring: Wiring
) -> None:
    """The worker died in the call of one event: the other event of its key asks before it calls."""
    publish(connection, want("same"))
    die_in_a_call(database, connection, wiring, Fault.DIES_BEFORE)
    rescued(connection, most_rescues=0)
    publish(connection, want("same"))
    drain_all(connection)
    assert [call.in_doubt for _, call in outside.calls] == [True]


def test_a_call_that_another_event_makes_is_waited_for(
    database: Database, connection: Connection, outside: Outside, wiring: Wiring
) -> None:
    """While a live delivery makes the call of the key, the other event is put back."""
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


def test_a_mark_of_the_version_before_is_found(connection: Connection, outside: Outside, wiring: Wiring) -> None:
    """It was made under the event's id, before calls had keys: the call is in doubt all the same."""
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


def test_a_second_death_after_a_resolution_keeps_what_a_replay_must_know(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """A letter was resolved by hand, and another delivery of its event dies too.

    There is an unresolved letter, the first one stays resolved when it was, and prune leaves the mark of the call.
    """
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
