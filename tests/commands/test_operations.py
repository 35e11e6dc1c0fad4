"""Operators' commands: output and exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

import events
from app.commands.scope import login
from app.context import Connection
from app.engine.audit_log import history
from app.engine.queue.publish import publish
from app.program import WIRING
from events import Event
from events.order import OrderUpdated
from tests.commands.conftest import Run
from tests.helpers.factories import make_workspace
from tests.helpers.health_fixtures import enlist
from tests.helpers.support import drain, scalar


def fact(tenant: UUID | None = None) -> Event[Any]:
    """Return an event whose handler changes nothing."""
    said = OrderUpdated(order_id=uuid4(), before={}, after={"city": "Cali"})
    return events.new(said, now=datetime.now(UTC), subject=None, tenant=tenant)


def test_queues_are_listed_with_rows_and_workers(run: Run, connection: Connection) -> None:
    """Also empty queues; tab-separated off a terminal."""
    enlist(connection)
    publish(connection, fact())
    by_name = {row["queue"]: row for row in run("queues", "list", "--json").rows}
    assert list(by_name) == WIRING.queues()
    assert (by_name["events"]["due"], by_name["events"]["workers"], by_name["robots"]["due"]) == (1, 1, 0)
    assert 0 <= by_name["events"]["oldest_s"] < 60
    heading, *lines = [line.split("\t") for line in run("queues", "list").out.splitlines()]
    assert [dict(zip(heading, line, strict=True))["due"] for line in lines] == ["1", *["0"] * (len(by_name) - 1)]


def test_a_queue_is_paused_and_resumed(run: Run, connection: Connection) -> None:
    """The actor is the login by default. Pausing a paused queue is no error."""
    paused = run("queues", "pause", "robots", "--reason", "the portal is down", "--json")
    assert (paused.code, paused.rows[0]["paused_by"]) == (0, login())
    (row,) = [row for row in run("queues", "list", "--json").rows if row["queue"] == "robots"]
    assert (row["paused_by"], row["reason"], row["paused_at"] is None) == (
        login(),
        "the portal is down",
        False,
    )
    again = run("queues", "pause", "robots", "--reason", "me too", "--actor", "ben")
    assert (again.code, f"was already paused by {login()}: the portal is down" in again.err) == (0, True)
    resumed = run("queues", "resume", "robots", "--actor", "ben", "--json")
    assert (resumed.code, resumed.rows) == (0, [{"queue_name": "robots", "was_paused": True}])
    idle = run("queues", "resume", "robots")
    assert (idle.code, idle.out, idle.err) == (0, "robots is not paused\n", "robots was not paused\n")
    assert [(one.actor, one.action) for one in history(connection)] == [("ben", "resume"), (login(), "pause")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pause", "robot", "--reason", "x"], f"there is no 'robot'; there are {', '.join(WIRING.queues())}"),
        (["pause", "robots", "--reason", " "], "reason: must not be empty"),
        (["resume", "robot"], f"there is no 'robot'; there are {', '.join(WIRING.queues())}"),
        (["pause", "robots"], "Missing option '--reason'"),
    ],
)
def test_an_unknown_queue_cannot_be_paused(run: Run, connection: Connection, arguments: list[str], words: str) -> None:
    """Exit code 2, and nothing is changed."""
    done = run("queues", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert scalar(connection, "SELECT count(*) FROM engine.paused_queues") == 0


def test_workers_are_listed_with_their_deliveries(run: Run, connection: Connection) -> None:
    """A stale worker is marked."""
    worker = enlist(connection)
    publish(connection, fact())
    row = scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker)
    (told,) = run("workers", "list", "--json").rows
    assert (told["worker_id"], told["is_stale"], told["queues"]) == (worker, False, None)
    assert [(hand["row_id"], hand["queue_name"]) for hand in told["in_hand"]] == [(row, "events")]
    shown = run("workers", "list")
    assert f"alive\tconsume {row} of events" in shown.out
    assert shown.err == ""
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    assert run("workers", "list", "--json").rows[0]["is_stale"]
    assert f"stale: {worker} (worker on h, pid 1)" in run("workers", "list").err


def test_stats_are_of_the_given_span(run: Run, connection: Connection) -> None:
    """Rates and durations by type."""
    for _ in range(3):
        publish(connection, fact())
    drain()
    (told,) = run("stats", "--since", "1m", "--json").rows
    assert (told["type"], told["applied"], told["applied_a_minute"], told["since_s"]) == ("order/updated", 3, 3.0, 60.0)
    assert 0 <= told["waiting_p50"] <= told["waiting_p95"]
    assert run("stats").out.splitlines()[1].startswith("order/updated\t3\t0.2\t")
    connection.execute("UPDATE engine.event_log SET applied_at = now() - interval '2 minutes'")
    assert run("stats", "--since", "60s", "--json").rows == []


@pytest.mark.parametrize("since", ["1", "h", "", "1w", "-1h", "nanh", "1e99d", "9999d"])
def test_a_bad_span_is_refused(run: Run, since: str) -> None:
    """Exit code 2, with an example."""
    done = run("stats", f"--since={since}")
    assert (done.code, done.out) == (2, "")
    assert "since" in done.err


def test_an_event_is_explained(run: Run, connection: Connection) -> None:
    """As JSON with all fields of the reason, or as a sentence."""
    event = fact()
    publish(connection, event)
    no_worker, waiting = run("explain", "event", event.id, "--json").rows
    assert (no_worker["kind"], no_worker["queue"]) == ("no_worker", "events")
    assert (waiting["kind"], waiting["ahead"], waiting["events"]) == ("waiting", 0, 1)
    assert waiting["sentence"].startswith("1 event is waiting in queue events at the front")
    shown = run("explain", "event", event.id)
    assert (shown.code, shown.out.splitlines()[1].partition("\t")[0]) == (0, "no_worker")
    drain()
    assert [row["kind"] for row in run("explain", "event", event.id, "--json").rows] == ["done"]


@pytest.mark.parametrize(
    ("what", "words"),
    [("event", "is nowhere"), ("job", "there is no job"), ("item", "no item"), ("tenant", "there is no")],
)
def test_an_unknown_id_cannot_be_explained(run: Run, what: str, words: str) -> None:
    """Exit code 2; with --json an object."""
    done = run("explain", what, UUID(int=1), "--json")
    assert (done.code, done.out) == (2, "")
    told = json.loads(done.err)
    assert (told["error"], words in told["message"]) == ("NotFound", True)


def test_a_tenant_is_explained_by_name_or_id(run: Run, connection: Connection) -> None:
    """All its waiting events, or a line that there are none."""
    workspace = make_workspace(connection, "Acme")
    idle = run("explain", "tenant", "Acme")
    assert (idle.code, idle.out, idle.err) == (0, "", "nothing waits\n")
    publish(connection, *[fact(workspace.id) for _ in range(3)], fact())
    for name in ("Acme", workspace.id):
        told = run("explain", "tenant", name, "--json").rows
        assert [(row["kind"], row.get("events")) for row in told] == [("no_worker", None), ("waiting", 3)]


def test_the_doctors_exit_code_is_1_for_a_problem(run: Run, connection: Connection) -> None:
    """0 without one, with or without warnings. The same for text and JSON."""
    well = run("doctor", "--json")
    assert (well.code, {row["level"] for row in well.rows} & {"problem"}) == (0, set())
    assert [row["level"] for row in well.rows if row["subject"] == "workers"] == ["warning"]
    publish(connection, fact())
    ill = run("doctor")
    assert ill.code == 1
    (line,) = [line for line in ill.out.splitlines() if line.startswith("problem")]
    _, subject, _, remedy = line.split("\t")
    assert (subject, remedy) == ("queues", "`work --queue events`")
    assert run("doctor", "--json").code == 1


def test_a_weight_is_set_and_recorded_and_shown(run: Run, connection: Connection) -> None:
    """With actor, reason and the weight before. The list shows it."""
    workspace = make_workspace(connection)
    made = run("queues", "weight", workspace.name, "3", "--reason", "pays more", "--actor", "ana", "--json")
    assert (made.code, made.rows[0]["weight"], made.rows[0]["tenant_id"]) == (0, 3.0, str(workspace.id))
    run("queues", "weight", str(workspace.id), "2", "--reason", "less", "--actor", "ben")
    (second, first) = history(connection, workspace.id)
    assert (first.actor, first.action, first.reason, first.details) == (
        "ana",
        "weight",
        "pays more",
        {"before": 1.0, "after": 3.0},
    )
    assert second.details == {"before": 3.0, "after": 2.0}
    for tenant in (workspace.id, uuid4()):
        connection.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('robots', 'perform', %s::jsonb)",
            [json.dumps({"attempt": 0, "share": f"{tenant}/carrier", "events": []})],
        )
    standing = {row["tenant"]: row for row in run("queues", "shares", "--json").rows}[str(workspace.id)]
    assert (standing["account"], standing["due"], standing["in_hand"]) == ("carrier", 1, 0)
    assert (standing["weight"], standing["part"]) == (2.0, pytest.approx(2 / 3))
    assert run("queues", "shares", "events", "--json").rows == []


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "1001"])
def test_a_bad_weight_is_refused(run: Run, connection: Connection, weight: str) -> None:
    """Zero, negative, no number, or above the limit: exit code 2."""
    workspace = make_workspace(connection)
    refused = run("queues", "weight", "--reason", "why not", "--", str(workspace.id), weight)
    assert (refused.code, "weight" in refused.err) == (2, True)
    assert history(connection, workspace.id) == []
