"""Resolve as done: record the result of a dead effect's call by hand."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters.as_done import resolve_as_done
from app.engine.delivery.ledger import enter
from app.engine.queue.envelope import QueuedEvent
from app.errors import Conflict, InvalidInput, NotFound
from tests.helpers.calls import Mail, deaths
from tests.helpers.dead_letters import begin_call, dead, heard, make_call
from tests.helpers.support import drain_all, scalar
from tests.helpers.toy import Made, say, want


def test_the_recorded_result_continues_as_if_the_effect_had_returned_it(connection: Connection, mail: Mail) -> None:
    """The result event is published once with the id of the effect's own result, and the letter is resolved."""
    event = want("letter")
    dead(connection, event)
    begin_call(connection, event)
    result = resolve_as_done(connection, event.id, {"outcome": "in the box"}, note="seen", actor="ana")
    assert (result.type, result.causationid, result.data.word) == ("toy/call.made", event.id, "letter")
    assert result.id == event.follow(Made(word="letter", outcome="sent"), result.time).id
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0
    drain_all(connection)
    assert (mail.sent, deaths(connection), heard(connection)) == ([], [], ["letter: in the box"])
    assert scalar(connection, "SELECT notes FROM engine.failed_jobs") == "seen"
    assert scalar(connection, "SELECT reason FROM engine.actions WHERE action = 'resolve as done'") == "seen"
    with pytest.raises(Conflict, match="resolved already"):
        resolve_as_done(connection, event.id, {"outcome": "x"}, note="seen", actor="ana")


def test_data_that_does_not_match_the_result_changes_nothing(connection: Connection, mail: Mail) -> None:
    """The error names the field. The letter stays open, and nothing is published."""
    event = want("letter")
    dead(connection, event)
    with pytest.raises(InvalidInput, match=r"^data: no toy/call.made: outcome: Field required"):
        resolve_as_done(connection, event.id, {}, note="seen", actor="ana")
    assert deaths(connection) == ["Permanent"]
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
    assert scalar(connection, "SELECT count(*) FROM engine.actions") == 0


def test_only_an_effect_that_names_its_result_can_be_resolved_as_done(connection: Connection, mail: Mail) -> None:
    """Otherwise the result's type is unknown: `InvalidInput`. An unknown id is `NotFound`."""
    said, wanted = say("word"), want("letter")
    dead(connection, said, wanted)
    with pytest.raises(InvalidInput, match="is no effect"):
        resolve_as_done(connection, said.id, {}, note="x", actor="ana")
    wiring = mail.wiring(result=None)
    with domain.use(wiring), pytest.raises(InvalidInput, match=r"does not name its result \(Effect.result\)"):
        resolve_as_done(connection, wanted.id, {"outcome": "x"}, note="x", actor="ana")
    with pytest.raises(NotFound):
        resolve_as_done(connection, want("unknown").id, {}, note="x", actor="ana")


def test_a_call_in_progress_keeps_its_letter_open(connection: Connection, mail: Mail) -> None:
    """Another delivery makes the call: its outcome counts, not the recorded one."""
    event = want("letter")
    dead(connection, event)
    make_call(connection, event)
    with pytest.raises(Conflict, match="is being made at this moment"):
        resolve_as_done(connection, event.id, {"outcome": "x"}, note="x", actor="ana")
    assert deaths(connection) == ["Permanent"]


def test_an_applied_event_gets_no_second_result(connection: Connection, mail: Mail) -> None:
    """The ledger has the event although its letter is open: `Conflict`."""
    event = want("letter")
    (letter,) = dead(connection, event)
    enter(connection, [QueuedEvent(0, 0, letter.event_data, event)])
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = NULL")
    with pytest.raises(Conflict, match="was applied meanwhile"):
        resolve_as_done(connection, letter.id, {"outcome": "x"}, note="x", actor="ana")
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_fields_of_the_request_can_be_replaced(connection: Connection, mail: Mail) -> None:
    """Fields that request and result share are copied from the request, unless the data contains them."""
    event = want("letter")
    dead(connection, event)
    result = resolve_as_done(connection, event.id, {"word": "other", "outcome": "x"}, note="x", actor="ana")
    assert result.data == Made(word="other", outcome="x")
