"""`dead`: list, show, plan, replay, edit and close dead letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import time_machine

from app.context import Connection
from app.engine.queue.publish import publish
from events import Event, robot
from tests.conftest import Database
from tests.helpers.commands import lines, run
from tests.helpers.factories import Workspace
from tests.helpers.support import drain_all, scalar


@pytest.fixture
def dead(connection: Connection, workspace: Workspace) -> Event[Any]:
    """A dead letter: a result for an unknown item."""
    import events  # noqa: PLC0415 - beside the `dead` of this test
    from tests.helpers.toy import NOW  # noqa: PLC0415

    result = robot.ItemCompleted(
        job_id=uuid4(), item_id=uuid4(), attempt=0, status="error", error_type="portal", error_message="no"
    )
    event = events.new(result, now=NOW, subject=result.job_id, tenant=workspace.id)
    publish(connection, event)
    drain_all(connection)
    return event


def test_dead_letters_can_be_filtered(dead: Event[Any], workspace: Workspace) -> None:
    """By type, tenant, error class, time and text."""
    for filters in (
        ["--type", "robot/item.completed"],
        ["--tenant", workspace.id],
        ["--error-class", "FailingEvents"],
        ["--since", "1h"],
        ["--text", str(dead.data.item_id)],
        ["--all"],
    ):
        assert [one["event_id"] for one in lines("dead", "list", *filters)] == [str(dead.id)]
    for filters in (["--type", "x"], ["--until", "1h"], ["--text", "nothing like it"], ["--resolved"]):
        assert lines("dead", "list", *filters) == []
    (group,) = lines("dead", "list", "--group")
    assert (group["letters"], group["job_type"]) == (1, "robot/item.completed")
    assert lines("dead", "list", "--fingerprint", group["fingerprint"])


def test_a_letter_is_shown_with_its_event_and_stack(dead: Event[Any]) -> None:
    """By its own id or its event's, as text and JSON."""
    (shown,) = lines("dead", "show", dead.id)
    assert shown["letter"]["event_data"] == json.loads(dead.json_bytes())
    assert "FailingEvents" in shown["letter"]["error_stack"]
    text = run("dead", "show", shown["letter"]["id"]).stdout
    assert str(dead.id) in text
    assert "FailingEvents" in text
    (count,) = lines("dead", "stats")
    assert (count["unresolved"], count["resolved"]) == (1, 0)


def test_a_plan_is_a_dry_run(connection: Connection, dead: Event[Any]) -> None:
    """A result for a foreign item is blocked, because a replay would fail again."""
    (plan,) = lines("dead", "plan")
    assert plan["classes"] == {"blocked": 1}
    assert (plan["plan"]["items_to_change"], plan["letters"][0]["class_"]) == (0, "blocked")
    result = run("dead", "replay", plan["plan"]["id"], "--yes")
    assert "nothing to replay" in result.stderr
    run("dead", "replay", dead.id, "--dry-run")
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
    assert scalar(connection, "SELECT replay_count FROM engine.failed_jobs") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay", uuid4()], "there is none with the id"),
        (["show", uuid4()], "there is none with the id"),
        (["resolve", uuid4(), "--note", "x"], "there is none with the id"),
        (["replay", uuid4(), "--rate", "0"], "rate: must be more than 0"),
        (["replay", uuid4(), "--stop-at", "200"], "stop-at: must be a percentage"),
        (["list", "--since", "yesterday"], "--since: 'yesterday' is not a span"),
    ],
)
def test_bad_input_has_exit_code_2(database: Database, arguments: list[object], said: str) -> None:
    """The error names the id or field."""
    assert said in run("dead", *arguments, code=2).stderr


def test_destructive_commands_need_a_terminal_or_yes(connection: Connection, dead: Event[Any]) -> None:
    """Otherwise exit code 2, and nothing is changed."""
    assert "--yes" in run("dead", "discard", dead.id, "--note", "old", code=2).stderr
    assert "--yes" in run("dead", "edit", dead.id, "--set", "attempt=1", code=2).stderr
    assert scalar(connection, "SELECT resolved_at IS NULL FROM engine.failed_jobs")
    assert scalar(connection, "SELECT count(*) FROM engine.actions WHERE action <> 'plan'") == 0


def test_an_edit_is_checked_before_it_is_published(connection: Connection, dead: Event[Any], tmp_path: Path) -> None:
    """An unknown field or a bad value has exit code 2, and nothing is published."""
    assert "data.surprise" in run("dead", "edit", dead.id, "--set", "surprise=1", "--yes", code=2).stderr
    assert "data.attempt" in run("dead", "edit", dead.id, "--set", "attempt=-1", "--yes", code=2).stderr
    assert "PATH=VALUE" in run("dead", "edit", dead.id, "--set", "attempt", "--yes", code=2).stderr
    file = tmp_path / "data.json"
    file.write_text("[]")
    assert "must be a JSON object" in run("dead", "edit", dead.id, "--file", file, "--yes", code=2).stderr
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
    (edited,) = lines(
        "dead", "edit", dead.id, "--set", "error_message=better", "--reason", "typo", "--actor", "ana", "--yes"
    )
    assert edited["replaces"] == str(dead.id)
    assert scalar(connection, "SELECT args->'data'->>'error_message' FROM public.procrastinate_jobs") == "better"
    assert [(one["action"], one["actor"]) for one in lines("dead", "history", edited["letter"])] == [("edit", "ana")]


def test_letters_are_closed_with_a_note(connection: Connection, dead: Event[Any]) -> None:
    """Resolve and discard need a note, once. A note can be added to any letter."""
    run("dead", "note", dead.id, "asked the carrier")
    run("dead", "resolve", dead.id, "--note", "seen to by phone", "--actor", "ana")
    assert "resolved already" in run("dead", "discard", dead.id, "--note", "x", "--yes", code=2).stderr
    assert scalar(connection, "SELECT notes FROM engine.failed_jobs") == "asked the carrier\nseen to by phone"
    assert [one["action"] for one in lines("dead", "history")] == ["resolve", "note"]


def test_a_plan_is_shown_again_and_listed_while_it_is_open(dead: Event[Any]) -> None:
    """With its letters and the number left to replay. No second plan is made."""
    (made,) = lines("dead", "plan")
    (shown,) = lines("dead", "plan", made["plan"]["id"])
    assert shown == made
    assert "blocked" in run("dead", "plan", made["plan"]["id"]).stdout
    (listed,) = lines("dead", "plans")
    assert (listed["id"], listed["letters"], listed["to_replay"], listed["waiting"]) == (made["plan"]["id"], 1, 0, 0)
    assert made["plan"]["id"] in run("dead", "plans").stdout
    assert "more plans may follow" in run("dead", "plans", "--limit", "1").stderr


def test_a_finished_plan_is_listed_only_with_all(connection: Connection, dead: Event[Any]) -> None:
    """So is an expired one."""
    (made,) = lines("dead", "plan")
    connection.execute("UPDATE engine.replay_plans SET finished_at = now()")
    assert lines("dead", "plans") == []
    assert [one["id"] for one in lines("dead", "plans", "--all")] == [made["plan"]["id"]]


def test_an_unknown_plan_or_one_with_filters_is_refused(dead: Event[Any]) -> None:
    """Filters do not apply to an existing plan."""
    assert "plan: there is none" in run("dead", "plan", uuid4(), code=2).stderr
    (made,) = lines("dead", "plan")
    assert "filters do not apply" in run("dead", "plan", made["plan"]["id"], "--type", "x", code=2).stderr


def test_a_span_counts_back_from_the_databases_clock(dead: Event[Any]) -> None:
    """Also if the host's clock is a day ahead or behind."""
    for shift in (timedelta(days=1), timedelta(days=-1)):
        with time_machine.travel(datetime.now(UTC) + shift):
            assert len(lines("dead", "list", "--since", "1h")) == 1
            assert lines("dead", "list", "--until", "1h") == []
