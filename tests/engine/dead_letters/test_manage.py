"""Decisions about dead letters by hand: resolve, discard, annotate, edit."""

from __future__ import annotations

import json

import pytest

from app.context import Connection, HandlerContext
from app.engine import audit_log
from app.engine.dead_letters import letters, manage
from app.errors import Conflict, NotFound
from events import InvalidEvent, new_id
from tests.helpers.dead_letters import dead, heard, make_call
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Outside, say, want


def actions(connection: Connection, letter: letters.DeadLetter) -> list[tuple[str, str, str | None]]:
    """Return actor, action and reason of each action on a letter, newest first."""
    return [(one.actor, one.action, one.reason) for one in audit_log.history(connection, letter.id)]


@pytest.mark.parametrize("action", ["resolve", "discard"])
def test_closed_letters_have_a_note_and_an_entry_in_the_audit_log(
    connection: Connection, outside: Outside, action: str
) -> None:
    """Letters are found by their own ids or by those of their events. A closed letter cannot be closed again."""
    close = getattr(manage, action)
    by_id, by_event, kept = dead(connection, say("one"), want("two"), say("three"))
    closed = close(connection, [by_id.id, by_event.event_id], note="by phone", actor="ana")
    assert {(one.id, one.notes) for one in closed} == {(by_id.id, "by phone"), (by_event.id, "by phone")}
    for letter in (by_id, by_event):
        found = letters.find(connection, letter.id)
        assert (found.resolved_at is not None, found.notes) == (True, "by phone")
        assert actions(connection, letter) == [("ana", action, "by phone")]
    assert letters.find(connection, kept.id) == kept
    with pytest.raises(Conflict, match=f"1 of them are resolved already: {by_id.id}"):
        close(connection, [by_id.id, kept.id], note="again", actor="ana")
    assert letters.find(connection, kept.id) == kept


def test_nothing_is_closed_if_one_letter_does_not_exist(connection: Connection, outside: Outside) -> None:
    """All or none: `NotFound`."""
    (letter,) = dead(connection, say("one"))
    with pytest.raises(NotFound):
        manage.resolve(connection, [letter.id, new_id()], note="x", actor="ana")
    assert letters.find(connection, letter.id) == letter


def test_notes_are_added_in_order(connection: Connection, outside: Outside) -> None:
    """A note does not close the letter."""
    (letter,) = dead(connection, say("one"))
    manage.annotate(connection, letter.id, note="asked the carrier", actor="ana")
    noted = manage.annotate(connection, letter.id, note="no answer", actor="luis")
    assert (noted.notes, noted.resolved_at) == ("asked the carrier\nno answer", None)
    assert actions(connection, letter) == [("luis", "note", "no answer"), ("ana", "note", "asked the carrier")]


def test_an_edit_publishes_a_new_event_that_replaces_the_old(connection: Connection, outside: Outside) -> None:
    """The new event is applied; its `causationid` is the old event; the letter is resolved and names its successor."""
    event = say("garbled", "bad")
    (letter,) = dead(connection, event)
    new = manage.edit(connection, event.id, {"word": "clear"}, reason="typo", actor="ana")
    drain_all(connection)
    assert heard(connection) == ["clear"]
    assert (new.causationid, new.id != event.id) == (event.id, True)
    found = letters.find(connection, event.id)
    assert (found.replaced_by, found.resolved_at is not None) == (new.id, True)
    assert actions(connection, letter) == [("ana", "edit", "typo")]
    details = audit_log.history(connection, letter.id)[0].details
    assert (details["before"]["word"], details["after"]) == ("garbled", {"word": "clear"})
    with pytest.raises(Conflict, match="resolved already"):
        manage.edit(connection, event.id, {"word": "again"}, reason=None, actor="ana")


def test_an_edit_that_does_not_match_the_schema_changes_nothing(connection: Connection, outside: Outside) -> None:
    """`InvalidEvent` names the field; nothing is published, and the letter stays open."""
    (letter,) = dead(connection, say("garbled", "bad"))
    with pytest.raises(InvalidEvent, match=r"data\.volume"):
        manage.edit(connection, letter.id, {"word": "clear", "volume": 11}, reason=None, actor="ana")
    assert letters.find(connection, letter.id) == letter
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_an_effect_whose_call_is_in_progress_cannot_be_edited(connection: Connection, outside: Outside) -> None:
    """`Conflict`: the outcome of the call counts, and no copy is published."""
    event = want("busy")
    (letter,) = dead(connection, event)
    make_call(connection, event)
    with pytest.raises(Conflict, match="is being made at this moment"):
        manage.edit(connection, letter.id, {"word": "other"}, reason=None, actor="ana")
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 1
    assert letters.find(connection, letter.id).resolved_at is None


def test_the_event_of_an_edit_can_be_shown_first(connection: Connection, outside: Outside) -> None:
    """`edited` publishes nothing. The correlation of the old event is kept; the first cause starts one."""
    event = say("one")
    (letter,) = dead(connection, event)
    context = HandlerContext.begin(connection)
    shown = manage.edited(context, letter, {"word": "two"})
    assert (shown.causationid, shown.correlationid, shown.time) == (event.id, event.id, context.now)
    again = dead(connection, shown)[0]
    assert manage.edited(context, again, {"word": "three"}).correlationid == event.id
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_the_current_data_is_upcast_or_as_it_is(connection: Connection, outside: Outside) -> None:
    """Data that can be parsed has its defaults; data that cannot be parsed is returned unchanged."""
    (letter,) = dead(connection, say("one"))
    without = {**letter.event_data, "data": {"word": "one"}}
    connection.execute("UPDATE engine.failed_jobs SET event_data = %s", [json.dumps(without)])
    assert manage.current_data(letters.find(connection, letter.id)) == {"word": "one", "mood": "fine", "echoes": 0}
    connection.execute("UPDATE engine.failed_jobs SET event_data = %s", [json.dumps({**without, "data": {"x": 1}})])
    assert manage.current_data(letters.find(connection, letter.id)) == {"x": 1}
    connection.execute("UPDATE engine.failed_jobs SET event_data = '[]'")
    assert manage.current_data(letters.find(connection, letter.id)) == {}
