"""`dead`: decisions about calls that may have been made and cannot be asked about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.queue.publish import publish
from app.errors import Transient
from events import Event
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.calls import Mail
from tests.helpers.commands import lines, run
from tests.helpers.support import drain_all, scalar, working
from tests.helpers.toy import want


@pytest.fixture
def doubtful(database: Database, connection: Connection) -> Any:
    """A dead letter with a call in doubt, with the wiring in use."""
    toy.install(database)
    mail = Mail(toy.Outside(), errors=[Transient("no answer")])
    with domain.use(mail.wiring()):
        publish(connection, event := want("letter"))
        drain_all(connection)
        yield event, mail


def test_a_replay_skips_it_and_names_the_remedies(
    database: Database, connection: Connection, doubtful: tuple[Event[Any], Mail]
) -> None:
    """Without `--again` no call is made."""
    event, mail = doubtful
    (plan,) = lines("dead", "plan")
    (letter,) = plan["letters"]
    assert letter["class_"] == "in_doubt"
    assert "--again" in letter["detail"]
    assert "--as-done" in letter["detail"]
    with working(database.url):
        shown = run("dead", "replay", event.id, "--yes")
    assert "1 letters were skipped" in shown.output
    assert mail.sent == []
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 1


def test_again_makes_the_call_and_needs_a_reason(
    database: Database, connection: Connection, doubtful: tuple[Event[Any], Mail]
) -> None:
    """The reason is in the audit log."""
    event, mail = doubtful
    assert "--reason" in run("dead", "replay", event.id, "--again", "--yes", code=2).output
    with working(database.url):
        run("dead", "replay", event.id, "--again", "--reason", "the log shows that it was not sent", "--yes")
    assert mail.sent == ["letter"]
    recorded = connection.execute("SELECT reason, details FROM engine.actions WHERE action = 'replay'").fetchall()
    assert [(reason, details["again"]) for reason, details in recorded] == [
        ("the log shows that it was not sent", True)
    ]


@pytest.mark.parametrize("where", ["inline", "in a file"])
def test_as_done_records_the_result(
    connection: Connection, doubtful: tuple[Event[Any], Mail], tmp_path: Path, where: str
) -> None:
    """From the command line or a file. The result's handler applies it once."""
    event, mail = doubtful
    data = json.dumps({"outcome": "in the box"})
    if where == "in a file":
        (tmp_path / "result.json").write_text(data)
        data = f"@{tmp_path / 'result.json'}"
    (done,) = lines("dead", "resolve", event.id, "--as-done", "--data", data, "--note", "seen", "--actor", "ana")
    assert done["resolved"] is True
    drain_all(connection)
    assert mail.sent == []
    assert connection.execute("SELECT word FROM toy.heard").fetchall() == [("letter: in the box",)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--as-done"], "--as-done needs --data"),
        (["--data", "{}"], "--as-done needs --data"),
        (["--as-done", "--data", "{"], "data: not JSON"),
        (["--as-done", "--data", "[]"], "must be a JSON object"),
        (["--as-done", "--data", "@/no/such/file"], "cannot read /no/such/file"),
        (["--as-done", "--data", "{}"], "outcome: Field required"),
        (["--as-done", "--data", '{"outcome": "x", "color": "red"}'], "color: Extra inputs are not permitted"),
    ],
)
def test_a_bad_result_is_refused(doubtful: tuple[Event[Any], Mail], options: list[str], words: str) -> None:
    """With exit code 2. The letter is unchanged."""
    event, _ = doubtful
    shown = run("dead", "resolve", event.id, "--note", "x", *options, code=2)
    assert words in " ".join(shown.output.split())
    assert len(lines("dead", "list")) == 1
