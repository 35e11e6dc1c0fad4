"""A bad morning: of a thousand orders eighty are dead, and an admin ships each once."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from typer.testing import CliRunner

from app import children
from app import database as doors
from app.context import Connection
from app.engine.inspect.invariants import audit
from app.logistics import jobs
from app.program import INVARIANTS
from app.settings import settings
from app.simulators.portal import Portal, Rule
from cli import app
from tests.conftest import Database
from tests.helpers.children import CLI, child
from tests.helpers.factories import make_workspace
from tests.helpers.sealing_keys import find_the_key, lose_the_key
from tests.helpers.shops import Shop, equip
from tests.helpers.support import drain, drain_all, scalar, working
from tests.helpers.waits import until


def run(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Run a command with --json. Returns its output."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_bad_morning(
    database: Database,
    connection: Connection,
    shop: Shop,
    portal: Portal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plan, canary, stop, fix, replay at a rate: the audit holds, and the portal has every order once."""
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "0")
    monkeypatch.setenv("TALLYMAN_RETRY_BASE", "600")
    settings.cache_clear()
    poisoned = equip(connection, make_workspace(connection).id, portal)
    lose_the_key(connection, monkeypatch, poisoned)
    portal.change(rules=[Rule(field="address", contains="DOUBT", then="lost", times=1).model_dump()])

    main = jobs.create_robot_job(shop.context, [*shop.order(920), *shop.order(30, address="DOUBT street 1")])
    poison = jobs.create_robot_job(poisoned.context, poisoned.order(50))
    # The portal accepts thirty orders and its answers are lost; before anybody can ask, the key is lost too.
    drain()
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 30
    lose_the_key(connection, monkeypatch, shop)
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 80

    groups = run("dead", "list", "--group")
    assert sum(group["letters"] for group in groups) == 80
    (plan,) = run("dead", "plan", "--error-class", "NotCalled", "--actor", "ana")
    assert plan["classes"] == {"valid": 50, "in_doubt": 30}
    assert (plan["plan"]["items_to_change"], plan["plan"]["counters_to_change"]) == (80, 2)
    doubts = [one["detail"] for one in plan["letters"] if one["class_"] == "in_doubt"]
    # The plan itself asks with the lost key, and says so.
    assert len(doubts) == 30
    assert all("the portal could not be asked" in detail for detail in doubts)

    with working(database.url):
        plan_id = plan["plan"]["id"]
        stopped = run("dead", "replay", plan_id, "--canary", "5", "--reason", "try", "--yes", "--actor", "ana", code=1)[
            -1
        ]
        assert stopped["stopped"] == "5 of the first 5 died again"
        find_the_key(shop)
        find_the_key(poisoned)
        (second,) = run("dead", "plan", "--actor", "ana")
        assert second["classes"] == {"valid": 50, "in_doubt": 30}
        asked = [one["detail"] for one in second["letters"] if one["class_"] == "in_doubt"]
        assert len(asked) == 30
        assert all("the portal has it as" in detail for detail in asked)
        done = run(
            "dead",
            "replay",
            second["plan"]["id"],
            "--rate",
            "200",
            "--stop-at",
            "10",
            "--reason",
            "key found",
            "--yes",
            "--actor",
            "ana",
        )[-1]
    assert (done["applied"], done["dead"], done["stopped"]) == (80, 0, None)

    for context, job in ((shop.context, main), (poisoned.context, poison)):
        found = jobs.get_robot_job(context, job.id)
        assert (found.status, found.success_count, found.error_count) == ("completed", found.total_items, 0)
    assert portal.record.summary().accepted == 1000
    assert portal.record.duplicates == []
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed'") == 2
    with doors.connect(database.url) as other:
        assert [verdict for verdict in audit(other, INVARIANTS) if not verdict.holds] == []
    assert {one["action"] for one in run("dead", "history")} >= {"plan", "replay", "replayed"}


def test_a_replay_that_is_killed_is_continued(
    database: Database, connection: Connection, shop: Shop, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGKILL the same command goes on, and each order is entered once."""
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "0")
    settings.cache_clear()
    lose_the_key(connection, monkeypatch, shop)
    job = jobs.create_robot_job(shop.context, shop.order(40))
    drain_all(connection)
    find_the_key(shop)
    (plan,) = run("dead", "plan")
    plan_id = plan["plan"]["id"]
    command = [*CLI, "dead", "replay", plan_id, "--rate", "10", "--reason", "x", "--yes"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with child(*command, **quiet) as replay, doors.connect(database.url, autocommit=True) as listener:
        until(listener, lambda: scalar(connection, "SELECT count(replayed_at) FROM engine.replay_plan_letters") >= 3)
        children.kill(replay)
    assert scalar(connection, "SELECT count(*) FROM engine.replay_plan_letters WHERE replayed_at IS NULL") > 0
    with working(database.url):
        done = run("dead", "replay", plan_id, "--reason", "go on", "--yes")[-1]
    assert (done["replayed"], done["applied"]) == (40, 40)
    assert jobs.get_robot_job(shop.context, job.id).success_count == 40
    assert (portal.record.summary().accepted, portal.record.duplicates) == (40, [])
