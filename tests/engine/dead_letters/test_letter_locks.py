"""Locks of dead letters: which letters a decision may take, and what it leaves of the calls that it took."""

from __future__ import annotations

from app import database as doors
from app.context import Connection
from app.engine.dead_letters import letter_locks
from app.engine.delivery.ledger import enter
from app.engine.queue.envelope import QueuedEvent
from events import new_id
from tests.conftest import Database
from tests.helpers.dead_letters import begin_call, dead, make_call
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say, want

_CALLS = "SELECT array_agg(event_id) FROM engine.calls"


def test_letters_are_read_by_id_in_the_order_of_their_ids(connection: Connection, outside: Outside) -> None:
    """An id without a letter is left out. An event that cannot be parsed is left out of the events."""
    written = dead(connection, *(say(str(n)) for n in range(4)))
    found = letter_locks.read(connection, [*(letter.id for letter in reversed(written)), new_id()])
    assert found == sorted(written, key=lambda letter: letter.id)
    connection.execute("UPDATE engine.failed_jobs SET event_data = '{}' WHERE id = %s", [written[0].id])
    read = letter_locks.events_of(letter_locks.read(connection, [letter.id for letter in written]))
    assert {event.id for event in read} == {letter.event_id for letter in written[1:]}


def test_a_letter_that_has_changed_is_not_locked(connection: Connection, outside: Outside) -> None:
    """A letter that was dead-lettered again or resolved since it was read is left out."""
    same, again, resolved = (say(word) for word in ("same", "again", "resolved"))
    letters = dead(connection, same, again, resolved)
    dead(connection, again)
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now() WHERE event_id = %s", [resolved.id])
    with connection.transaction():
        assert letter_locks.lock(connection, letters) == {letters[0].id}


def test_a_letter_that_this_transaction_resolved_counts_as_unchanged(connection: Connection, outside: Outside) -> None:
    """Entering an event into the ledger resolves its letter. Only for `entered` does the lock accept that."""
    event = say("word")
    letters = dead(connection, event)
    with connection.transaction():
        enter(connection, [QueuedEvent(0, 0, letters[0].event_data, event)])
        assert letter_locks.lock(connection, letters, [event.id]) == {letters[0].id}
        assert letter_locks.lock(connection, letters) == set()


def test_locked_letters_stay_locked_until_the_transaction_ends(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Another session cannot take them meanwhile."""
    skip = "SELECT count(*) FROM (SELECT FROM engine.failed_jobs FOR UPDATE SKIP LOCKED) free"
    letters = dead(connection, say("one"), say("two"))
    with doors.connect(database.url, autocommit=True) as other:
        with connection.transaction():
            letter_locks.lock(connection, letters[:1])
            assert scalar(other, skip) == 1
        assert scalar(other, skip) == 2


def test_seized_calls_are_let_go_as_they_were(connection: Connection, outside: Outside) -> None:
    """A call in doubt stays in doubt; a call that was not begun leaves no mark. A handler's event has no call."""
    doubtful, fresh = want("doubtful"), want("fresh")
    begin_call(connection, doubtful)
    with connection.transaction():
        seized = letter_locks.seize(connection, [doubtful, fresh, say("handled")])
        assert seized == {doubtful.id: True, fresh.id: False}
        letter_locks.let_go(connection, seized)
    assert scalar(connection, _CALLS) == [doubtful.id]


def test_a_call_that_a_live_delivery_makes_is_not_seized(connection: Connection, outside: Outside) -> None:
    """Its mark is left to that delivery."""
    event = want("busy")
    make_call(connection, event)
    assert letter_locks.seize(connection, [event]) == {}
    assert scalar(connection, _CALLS) == [event.id]
