"""The outside call of a dead event passes to its edited copy."""

from __future__ import annotations

from typing import Any

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import handover, letters, manage
from app.engine.dead_letters.letters import DeadLetter
from app.engine.queue.publish import publish
from app.engine.worker.prune import prune
from app.errors import Conflict, InDoubt
from app.testing import worker
from app.testing.faults import Fault
from events import Event
from tests.conftest import Database
from tests.helpers.calls import keyed, word_key
from tests.helpers.dead_letters import begin_call, dead, make_call
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Outside, say, want

_MARKS = "SELECT call_key, event_id FROM engine.calls"


def hand_over(connection: Connection, letter: DeadLetter, copy: Event[Any]) -> object:
    """Transfer the call in a transaction, as an edit does."""
    with connection.transaction():
        return handover.hand_over(connection, letter, copy)


@pytest.mark.parametrize("has_key", [True, False])
def test_a_call_in_doubt_is_transferred_and_the_dead_event_is_entered(
    connection: Connection, outside: Outside, *, has_key: bool
) -> None:
    """The mark is kept under the key, or under the copy's id. The ledger has the dead event, once."""
    event, copy = want("same"), want("same")
    (letter,) = dead(connection, event)
    key = word_key(event) if has_key else event.id
    begin_call(connection, event, key)
    with domain.use(keyed(outside) if has_key else outside.wiring()):
        assert hand_over(connection, letter, copy) == event.id
        assert connection.execute(_MARKS).fetchall() == [(key if has_key else copy.id, copy.id)]
        assert hand_over(connection, letter, copy) is None
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE event_id = %s", event.id) == 1


def test_a_call_that_was_not_begun_leaves_no_mark(connection: Connection, outside: Outside) -> None:
    """The copy's delivery calls, and is not in doubt."""
    event = want("fresh")
    (letter,) = dead(connection, event)
    assert hand_over(connection, letter, want("copy")) == event.id
    assert connection.execute(_MARKS).fetchall() == []


def test_a_handlers_event_has_no_call_to_transfer(connection: Connection, outside: Outside) -> None:
    """None is returned, and the ledger does not get the dead event. So it is if the copy has another type."""
    (said,) = dead(connection, say("word"))
    (wanted,) = dead(connection, want("word"))
    assert hand_over(connection, said, say("copy")) is None
    assert hand_over(connection, wanted, say("copy")) is None
    assert hand_over(connection, said, want("copy")) is None
    assert scalar(connection, "SELECT count(*) FROM engine.event_log") == 0


def test_a_call_in_progress_is_not_transferred(connection: Connection, outside: Outside) -> None:
    """`Conflict`: its outcome counts. The mark stays with the delivery."""
    event = want("busy")
    (letter,) = dead(connection, event)
    make_call(connection, event)
    with pytest.raises(Conflict, match="edit it again later"):
        hand_over(connection, letter, want("copy"))
    assert connection.execute(_MARKS).fetchall() == [(event.id, event.id)]


@pytest.mark.parametrize("has_key", [True, False])
def test_the_copy_of_a_call_in_doubt_asks_first(
    database: Database, connection: Connection, outside: Outside, *, has_key: bool
) -> None:
    """With a key or without. A late delivery of the dead event makes no call."""
    wiring = keyed(outside) if has_key else outside.wiring()
    with domain.use(wiring):
        publish(connection, event := want("same"))
        die_in_a_call(database, connection, wiring, Fault.DIES_BEFORE)
        rescued(connection, most_rescues=0)
        letter = letters.find(
            connection, scalar(connection, "SELECT id FROM engine.failed_jobs WHERE resolved_at IS NULL")
        )
        manage.edit(connection, letter.id, {**manage.current_data(letter), "mood": "kind"}, reason="x", actor="ana")
        publish(connection, event)
        drain_all(connection)
    assert [call.in_doubt for _, call in outside.calls] == [True]
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_the_mark_of_the_call_is_kept_as_long_as_the_copy_is_dead(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Pruning the first letter, which was resolved long ago, keeps the mark while the copy is dead."""
    publish(connection, want("copied"))
    die_in_a_call(database, connection, outside.wiring(), Fault.DIES_BEFORE)
    rescued(connection, most_rescues=0)
    letter = letters.find(connection, scalar(connection, "SELECT id FROM engine.failed_jobs WHERE resolved_at IS NULL"))
    copy = manage.edit(connection, letter.id, manage.current_data(letter), reason="x", actor="ana")
    connection.execute("DELETE FROM public.procrastinate_jobs")
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now() - interval '100 days'")
    dead(connection, copy, error=InDoubt("again"))
    prune(connection)
    assert scalar(connection, "SELECT event_id FROM engine.calls") == copy.id
    assert not worker.let_time_pass(connection)
