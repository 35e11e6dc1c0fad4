"""The audit log of operators' actions."""

from __future__ import annotations

import psycopg
import pytest

from app.context import Connection
from app.engine import audit_log
from app.errors import InvalidInput
from events import new_id


def test_an_action_is_recorded_with_its_subject_reason_and_details(connection: Connection) -> None:
    """The history is newest first, of one subject or of all, and limited."""
    subject = new_id()
    audit_log.record(connection, "ana", "note", subject=subject, reason="x", details={"before": 1})
    audit_log.record(connection, "luis", "pause")
    latest, first = audit_log.history(connection)
    assert (first.actor, first.action, first.subject, first.reason) == ("ana", "note", str(subject), "x")
    assert first.details == {"before": 1}
    assert (latest.actor, latest.subject, latest.reason, latest.details) == ("luis", None, None, {})
    assert audit_log.history(connection, subject) == [first]
    assert audit_log.history(connection, limit=1) == [latest]


def test_an_action_that_is_rolled_back_is_not_recorded(connection: Connection) -> None:
    """The entry commits with the action."""
    with connection.transaction(force_rollback=True):
        audit_log.record(connection, "ana", "note")
    assert audit_log.history(connection) == []


@pytest.mark.parametrize("statement", ["UPDATE engine.actions SET actor = 'x'", "DELETE FROM engine.actions"])
def test_entries_cannot_be_changed_or_deleted(connection: Connection, statement: str) -> None:
    """service_role may only add entries."""
    audit_log.record(connection, "ana", "note")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)
    assert len(audit_log.history(connection)) == 1


def test_text_is_put_on_one_line() -> None:
    """An empty text, or one with control characters, is an error that names the field."""
    assert audit_log.text("reason", "  too\n old ") == "too old"
    for value in ("", " \n ", "a\x00b", "a\x1b[31mb"):
        with pytest.raises(InvalidInput, match=r"^reason: "):
            audit_log.text("reason", value)
