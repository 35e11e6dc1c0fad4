"""Close the open letters of one effect and subject, as a consequence of another action."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import events
from app.context import Connection
from app.engine import audit_log
from app.engine.dead_letters import closing, letters
from events import Event
from tests.helpers.dead_letters import begin_call, dead, make_call
from tests.helpers.support import scalar
from tests.helpers.toy import NOW, Outside, Said, Wanted

SUBJECT = uuid4()


def want(word: str, subject: object = SUBJECT) -> Event[Any]:
    """Return a request about a subject."""
    return events.new(Wanted(word=word), now=NOW, subject=subject, tenant=None)  # type: ignore[arg-type]


def is_meant(event: Event[Any]) -> bool:
    """Whether a request is to be closed."""
    return bool(event.data.word != "kept")


def test_the_open_letters_of_one_subject_are_closed(connection: Connection, outside: Outside) -> None:
    """Letters of another subject or type, letters that are not meant, and resolved letters stay as they are."""
    meant = dead(connection, want("one"), want("two"))
    others = dead(
        connection,
        want("kept"),
        want("elsewhere", uuid4()),
        events.new(Said(word="one"), now=NOW, subject=SUBJECT, tenant=None),
    )
    (resolved,) = dead(connection, want("resolved"))
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = '2026-01-01' WHERE id = %s", [resolved.id])
    with connection.transaction():
        held = closing.hold(connection, Wanted, SUBJECT, is_meant)
        assert set(held.letters) == {letter.id for letter in meant}
        assert closing.close(connection, held, "cancel", "not needed", "ana") == 2
    for letter in meant:
        now = letters.find(connection, letter.id)
        assert (now.resolved_at is not None, now.notes) == (True, "not needed")
        (action,) = audit_log.history(connection, letter.id)
        assert (action.actor, action.action, action.reason) == ("ana", "cancel", "not needed")
    assert [letters.find(connection, letter.id) for letter in others] == others
    assert letters.find(connection, resolved.id).notes is None


def test_a_letter_whose_call_is_in_progress_is_left_open(connection: Connection, outside: Outside) -> None:
    """The outcome of that call decides. A call in doubt stays in doubt, and no other mark is left."""
    busy, doubtful, fresh = want("busy"), want("doubtful"), want("fresh")
    dead(connection, busy, doubtful, fresh)
    begin_call(connection, doubtful)
    make_call(connection, busy)
    with connection.transaction():
        held = closing.hold(connection, Wanted, SUBJECT, is_meant)
        assert closing.close(connection, held, "cancel", "not needed", "ana") == 2
    assert scalar(connection, "SELECT event_id FROM engine.failed_jobs WHERE resolved_at IS NULL") == busy.id
    assert (
        scalar(connection, "SELECT count(*) FROM engine.calls WHERE event_id <> ALL(%s)", [busy.id, doubtful.id]) == 0
    )
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 2


def test_without_letters_nothing_is_closed(connection: Connection, outside: Outside) -> None:
    """The number is zero, and the audit log has no entry."""
    with connection.transaction():
        held = closing.hold(connection, Wanted, SUBJECT, is_meant)
        assert closing.close(connection, held, "cancel", "not needed", "ana") == 0
    assert audit_log.history(connection) == []
