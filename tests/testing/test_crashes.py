"""crash_everywhere: a right handler passes, and each wrong one is detected with a message of where and what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.context import Connection
from app.engine.domain import Effect, Handler
from app.engine.queue.publish import publish
from app.testing.crashes import crash_everywhere
from app.testing.faults import Fault
from events import Event
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers import wrong_handlers as wrong
from tests.helpers.support import scalar, waiting
from tests.helpers.toy import say, want

pytestmark = pytest.mark.usefixtures("outside")


# What is right ------------------------------------------------------------------------------------


def test_a_right_handler_passes(database: Database, connection: Connection) -> None:
    """Every statement is tried with every fault possible there. The tables are left as they were."""
    connection.execute("INSERT INTO toy.heard (word) VALUES ('before')")
    report = crash_everywhere(database, toy.hear, [say("a", echoes=2), say("b")])
    assert (report.points[0].text, report.points[-1].text) == ("BEGIN", "COMMIT")
    statements = len(report.points)
    assert report.tried == {
        Fault.DIES_BEFORE: statements,
        Fault.DROPS: statements,
        Fault.DIES_AFTER: 1,
        Fault.ANSWER_LOST: 1,
    }
    assert report.cases == 2 * statements + 2
    assert connection.execute("SELECT word FROM toy.heard").fetchall() == [("before",)]
    assert waiting(connection) == scalar(connection, "SELECT count(*) FROM engine.event_log") == 0


def test_a_right_effect_passes(database: Database) -> None:
    """Its calls are crash points too: before each, at its last step, and after it."""
    telegraph = wrong.Telegraph()
    report = crash_everywhere(
        database, telegraph.effect(), [want("a")], arrange=telegraph.sent.clear, observe=telegraph.observe
    )
    calls = [point.text for point in report.points if "call for" in point.text]
    assert calls == ["the call for toy/call.wanted", "the last step of the call for toy/call.wanted"]
    assert report.tried[Fault.DIES_AFTER] == report.tried[Fault.ANSWER_LOST] == 5  # two are looks


def test_waiting_events_can_be_delivered(database: Database, connection: Connection) -> None:
    """Without events, those of the queue are run, and wait again afterwards."""
    publish(connection, say("a"))
    crash_everywhere(database, toy.hear)
    assert waiting(connection) == 1


# What is wrong ------------------------------------------------------------------------------------


def found(database: Database, served: Handler | Effect, event: Event[Any] | None = None, **options: Any) -> str:
    """Return the message of crash_everywhere about a wrong handler."""
    with pytest.raises(AssertionError) as caught:
        crash_everywhere(database, served, [event or say("a")], **options)
    return str(caught.value)


def test_a_connection_of_its_own(database: Database) -> None:
    """A second delivery writes again what was written before the crash."""
    message = found(database, wrong.own_connection)
    assert message.startswith("when the process dies before point ")
    assert 'toy.heard\n  + {"word": "a", ' in message


def test_events_on_a_connection_of_its_own(database: Database) -> None:
    """They are published before the transaction commits."""
    message = found(database, wrong.said_elsewhere)
    assert "is waiting, though the event that it follows from was not applied" in message


def test_a_commit_of_its_own(database: Database) -> None:
    """What it committed halfway counts as done, and the rest is never done."""
    message = found(database, wrong.commits)
    assert "  - applied: toy/echo.heard" in message


def test_a_count_in_the_process(database: Database) -> None:
    """It counts tries."""
    counting = wrong.Counting()
    message = found(database, counting, arrange=counting.start_over, observe=lambda _: counting.heard)
    assert "observed\n  - 1\n  + 2" in message


def test_a_memory_in_the_process(database: Database) -> None:
    """It remembers work that was rolled back as done."""
    remembering = wrong.Remembering()
    message = found(database, remembering, arrange=remembering.known.clear)
    assert 'toy.heard\n  - {"word": "a", ' in message


def test_an_order_that_changes(database: Database) -> None:
    """Observations are compared in their order."""
    words = [f"{'a long word' * 9} {n}" for n in range(2)]
    message = found(database, toy.hear, arrange=words.reverse, observe=lambda _: words)
    assert message.startswith("in a second undisturbed run")
    assert message.count("\n  - ") == message.count("\n  + ") > 0


def test_a_file(database: Database, tmp_path: Path) -> None:
    """A rollback does not remove lines from it."""
    file = tmp_path / "words"
    message = found(
        database,
        wrong.Filing(file),
        arrange=lambda: file.write_text(""),
        observe=lambda _: file.read_text().splitlines(),
    )
    assert "observed\n  - ['a']\n  + ['a', 'a']" in message


def test_a_call_that_does_not_ask_when_in_doubt(database: Database) -> None:
    """It is made twice."""
    telegraph = wrong.Telegraph(asks=False)
    message = found(database, telegraph.effect(), want("a"), arrange=telegraph.sent.clear, observe=telegraph.observe)
    assert "observed\n  - ['a']\n  + ['a', 'a']" in message


# What is no experiment ----------------------------------------------------------------------------


def test_a_handler_that_never_works(database: Database) -> None:
    """It is refused, since every disturbed run would end like the undisturbed one."""
    message = found(database, wrong.fails)
    assert message.startswith("0 dead letters expected of an undisturbed run\ntoy/word.said ")
    assert message.endswith(": Transient: not today")


def test_rows_that_differ_from_run_to_run(database: Database) -> None:
    """They say nothing about faults. The test must name them."""
    message = found(database, wrong.throws_dice)
    assert message.startswith("in a second undisturbed run (name what differs from run to run in `ignore`)")
    crash_everywhere(database, wrong.throws_dice, [say("a")], ignore=["toy.heard.word"])
    crash_everywhere(database, wrong.throws_dice, [say("a")], ignore=["toy.heard"])


def test_events_of_several_types_need_a_whole_wiring(database: Database) -> None:
    """One handler cannot serve them."""
    with pytest.raises(TypeError, match=r"must be of one type, not 2, .*pass a wiring"):
        crash_everywhere(database, toy.hear, [say("a"), want("b")])
    with pytest.raises(TypeError, match="must be of one type, not 0"):
        crash_everywhere(database, toy.hear)


def test_the_tables_are_put_back_after_a_failure(database: Database, connection: Connection) -> None:
    """A test can go on from the state before it."""
    found(database, wrong.own_connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == waiting(connection) == 0
    assert not connection.execute("SELECT FROM pg_namespace WHERE nspname = 'crash_everywhere'").fetchall()


# Locks of other sessions --------------------------------------------------------------------------


def test_locks_that_no_event_waits_for_are_refused(database: Database) -> None:
    """A lock without effect is an error."""
    hold = "SELECT FROM toy.heard FOR UPDATE"
    with pytest.raises(AssertionError, match="no event waited for the locks"):
        crash_everywhere(database, toy.hear, [say("a")], hold=lambda other: other.execute(hold))
