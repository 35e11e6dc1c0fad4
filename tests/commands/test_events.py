"""`events`: tail, timeline, contract, and the check before a deployment."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import events
from app.context import Connection
from app.engine import domain
from app.engine.queue.publish import publish
from events import KINDS
from tests.commands.conftest import Run
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.children import CLI, child, ignored_signals, read_line
from tests.helpers.support import drain

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def outside(database: Database) -> Iterator[toy.Outside]:
    """The toy domain's wiring."""
    toy.install(database)
    outside = toy.Outside()
    with domain.use(outside.wiring()):
        yield outside


def test_the_tail_shows_applied_events(run: Run, connection: Connection, outside: toy.Outside) -> None:
    """As JSON, or tab-separated lines off a terminal. Filters can be given."""
    job = uuid4()
    publish(
        connection, events.new(toy.Said(word="hi", echoes=1), now=toy.NOW, subject=job, tenant=None), toy.say("other")
    )
    drain()
    rows = run("events", "tail", "--no-follow", "--since", "10m", "--subject", job, "--json").rows
    assert [(row["type"], row["data"]["word"]) for row in rows] == [("toy/word.said", "hi"), ("toy/echo.heard", "hi")]
    assert rows[1]["causation_id"] == rows[0]["event_id"]
    lines = run("events", "tail", "--no-follow", "--type", "toy/w*").out.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["type", "toy/word.said", "toy/word.said"]
    assert run("events", "tail", "--no-follow", "--tenant", uuid4()).out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "soon"], "--since: 'soon' is not a span of time"),
        (["--since", "-1m"], "is not a span of time"),
        (["--type", "robot/job.exploded"], "unknown event type 'robot/job.exploded'; use one of"),
    ],
)
def test_bad_arguments_of_the_tail_are_refused(run: Run, arguments: list[str], words: str) -> None:
    """A mistyped filter must not look like no events."""
    done = run("events", "tail", "--no-follow", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


@pytest.mark.parametrize("ignored", [[], [signal.SIGINT]])
def test_the_tail_follows_until_it_is_interrupted(
    connection: Connection, outside: toy.Outside, ignored: list[signal.Signals]
) -> None:
    """New events are printed at once. Ctrl-C is no error and has no stack trace.

    Also if the tests run with SIGINT ignored.
    """
    command = [*CLI, "events", "tail", "--json", "--since", "1h"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with ignored_signals(*ignored), child(*command, **pipes) as process:
        for word in ("one", "two"):
            publish(connection, toy.say(word))
            drain()
            assert json.loads(read_line(process.stdout))["data"]["word"] == word
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")


def test_the_timeline_of_a_job(run: Run, connection: Connection, outside: toy.Outside) -> None:
    """Events are indented under their causes. An unknown job has exit code 2."""
    job = uuid4()
    publish(connection, events.new(toy.Said(word="hi", echoes=1), now=toy.NOW, subject=job, tenant=None))
    publish(connection, events.new(toy.Said(word="no", mood="bad"), now=toy.NOW, subject=job, tenant=None), delay=0)
    drain()
    rows = run("events", "timeline", job, "--json").rows
    assert sorted((row["state"], row["type"], row["depth"]) for row in rows) == [
        ("applied", "toy/echo.heard", 1),
        ("applied", "toy/word.said", 0),
        ("dead", "toy/word.said", 0),
    ]
    text = run("events", "timeline", job).out
    assert "\t  toy/echo.heard\tapplied\t" in text
    assert "Permanent: cannot hear no" in text
    done = run("events", "timeline", uuid4())
    assert (done.code, done.out) == (2, "")


def test_the_contract_is_printed(run: Run) -> None:
    """Documents of this program's events. An unknown type has exit code 2."""
    document = json.loads(run("events", "asyncapi").out)
    assert (document["asyncapi"], sorted(document["channels"])) == ("3.0.0", domain.wiring().queues())
    assert json.loads(run("events", "schema", "robot/job.submitted").out)["title"] == "robot/job.submitted/1"
    (schema,) = run("events", "schema", "--json").rows
    assert len(schema["oneOf"]) == len(KINDS)
    assert run("events", "schema", "robot/job.exploded").code == 2


def test_the_check_before_a_deployment_has_an_exit_code(run: Run, connection: Connection, outside: toy.Outside) -> None:
    """0 with counts, or 1 with each event that the code cannot read."""
    publish(connection, toy.say("fine"))
    assert run("events", "check").code == 0
    assert run("events", "check", "--live").out.splitlines() == ["waiting\t1", "held\t0", "dead\t0", "invalid\t0"]
    event = json.loads(toy.say("strange").json_bytes())
    for _ in range(3):
        event["id"] = str(uuid4())
        connection.execute(
            "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)"
            " VALUES ('events', 'consume', %s::jsonb)",
            [json.dumps({**event, "dataschema": "toy/word.said/2"})],
        )
    done = run("events", "check", "--live", "--limit", 2)
    assert done.code == 1
    assert "invalid\t3" in done.out
    assert "version 2 of toy/word.said is unknown" in done.out
    assert "1 more events are not listed" in done.err
    (report,) = run("events", "check", "--live", "--json").rows
    assert report["findings"][0]["first"][-1]["event_id"] == event["id"]


def test_a_version_without_an_upcaster_fails_the_check(run: Run) -> None:
    """Without the database: every published version needs one."""
    kind = KINDS["toy/word.said"]
    kind.payload.version = 2
    try:
        done = run("events", "check")
        assert (done.code, "no upcaster from version 1 to 2" in done.out) == (1, True)
    finally:
        kind.payload.version = 1
