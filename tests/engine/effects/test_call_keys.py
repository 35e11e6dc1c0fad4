"""The key of a call: calls of one key are never made side by side, and a doubt is found whichever event asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest

from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.dead_letters import letters, manage
from app.engine.delivery.bury import bury
from app.engine.domain import Effect, Prepared, Wiring
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.engine.worker.prune import prune
from app.errors import InDoubt
from app.testing import worker
from app.testing.faults import Fault
from events import Event
from tests.conftest import Database
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Outside, Wanted, want

_KEYS = "SELECT call_key FROM engine.calls"
_LETTER = "SELECT id FROM engine.failed_jobs WHERE resolved_at IS NULL"


def word_key(event: Event[Wanted]) -> UUID:
    """All events that want a word want the same call."""
    return uuid5(NAMESPACE_OID, event.data.word)


def keyed(outside: Outside) -> Wiring:
    """The toy's effect, of which each word is wanted once, whichever event asks."""

    def prepare(context: HandlerContext, wanted: Sequence[Event[Wanted]]) -> Iterator[Prepared]:
        done = {word for (word,) in context.connection.execute("SELECT split_part(word, ':', 1) FROM toy.heard")}
        return (Prepared(event, event.data) for event in wanted if event.data.word not in done)

    effect = Effect(queue="toys", prepare=prepare, call=outside.call, call_key=word_key)
    return Wiring(outside.wiring().handlers, {Wanted: effect})


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


@pytest.mark.parametrize("has_key", [True, False])
def test_an_edited_copy_of_a_call_in_doubt_asks(
    database: Database, connection: Connection, outside: Outside, *, has_key: bool
) -> None:
    """With a key or without: the copy is told of the doubt, and a late delivery of the dead event calls nothing."""
    wiring = keyed(outside) if has_key else outside.wiring()
    with domain.use(wiring):
        publish(connection, event := want("same"))
        die_in_a_call(database, connection, wiring, Fault.DIES_BEFORE)
        rescued(connection, most_rescues=0)
        letter = letters.find(connection, scalar(connection, _LETTER))
        manage.edit(connection, letter.id, {**manage.current_data(letter), "mood": "kind"}, reason="x", actor="ana")
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


def test_the_mark_of_an_edited_letters_call_survives_with_its_copy(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The first letter was resolved long ago; the copy is dead, and its call is still in doubt."""
    publish(connection, want("copied"))
    die_in_a_call(database, connection, outside.wiring(), Fault.DIES_BEFORE)
    rescued(connection, most_rescues=0)
    letter = letters.find(connection, scalar(connection, _LETTER))
    copy = manage.edit(connection, letter.id, manage.current_data(letter), reason="x", actor="ana")
    connection.execute("DELETE FROM public.procrastinate_jobs")
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now() - interval '100 days'")
    bury(connection, [(QueuedEvent(0, 0, _raw(copy), copy), InDoubt("again"))])
    prune(connection)
    assert scalar(connection, "SELECT event_id FROM engine.calls") == copy.id
    assert not worker.let_time_pass(connection)


def _raw(event: Event[Wanted]) -> dict[str, object]:
    return dict(event.model_dump(mode="json", exclude_none=True))
