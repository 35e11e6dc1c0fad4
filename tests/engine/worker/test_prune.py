"""Prune: old rows are deleted in bounded batches; rows that may still be needed are kept."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import structlog
from procrastinate import periodic, psycopg_connector

from app import database as doors
from app.context import Connection
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters import replay
from app.engine.delivery.engine import Engine
from app.engine.inspect.invariants import audit
from app.engine.queue import ordering
from app.engine.queue.publish import publish
from app.engine.worker import prune as module
from app.engine.worker.app import _pool, app, load_arguments
from app.engine.worker.prune import count_prunable, prune
from app.errors import Conflict
from app.settings import settings
from tests.conftest import Database
from tests.helpers.sequences import StepFaults, deliver, paths, step, taken
from tests.helpers.support import scalar
from tests.helpers.toy import Outside

_LEDGER = """
INSERT INTO engine.event_log (event_id, type, version, data, occurred_at, applied_at)
SELECT gen_random_uuid(), 'toy/word.said', 1, '{}', now(), now() - %s * interval '1 day' FROM generate_series(1, %s)
"""
_LETTER = """
INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id, tenant_id, resolved_at)
VALUES ('toy/word.said', '{}', 'no', 1, gen_random_uuid(), %s, now() - %s * interval '1 day') RETURNING event_id
"""
_DIES_AGAIN = """
INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id)
VALUES ('toy/word.said', '{}', 'no', 1, %s)
"""
_ROW = "INSERT INTO public.procrastinate_jobs (queue_name, task_name) VALUES ('events', 'prune') RETURNING id"
_CALL = "INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, 0, 0)"


def row(connection: Connection, status: str, days: float) -> int:
    """Insert a queue row that ended a number of days ago."""
    row_id = scalar(connection, _ROW)
    connection.execute("UPDATE public.procrastinate_jobs SET status = 'doing' WHERE id = %s", [row_id])
    connection.execute(
        "UPDATE public.procrastinate_jobs SET status = %s::public.procrastinate_job_status WHERE id = %s",
        [status, row_id],
    )
    connection.execute(
        "UPDATE public.procrastinate_events SET at = now() - %s * interval '1 day' WHERE job_id = %s", [days, row_id]
    )
    return int(row_id)


def test_the_ledger_is_pruned_by_age_in_batches(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until no old row is left."""
    monkeypatch.setattr(module, "_BATCH", 10)
    connection.execute(_LEDGER, [31, 35])
    connection.execute(_LEDGER, [29, 5])
    assert count_prunable(connection)["event_log"] == 35
    assert prune(connection)["event_log"] == 35
    assert scalar(connection, "SELECT count(*) FROM engine.event_log") == 5
    assert prune(connection, older_than=7)["event_log"] == 5


def test_only_resolved_letters_are_deleted(connection: Connection) -> None:
    """Unresolved ones are kept, however old."""
    for days in (1000, 80, None):
        connection.execute(_LETTER, [None, days])
    assert prune(connection)["failed_jobs"] == 1
    assert prune(connection, older_than=1)["failed_jobs"] == 1
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 1


_PLAN = """
INSERT INTO engine.replay_plans (created_by, created_at, last_used_at)
VALUES ('ana', now() - interval '1 year', now() - %s * interval '1 day') RETURNING id
"""
_PLAN_LETTERS = """
WITH dead AS (
    INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id)
    SELECT 'toy/word.said', '{}', 'no', 1, gen_random_uuid() FROM generate_series(1, %s) RETURNING id, failed_at)
INSERT INTO engine.replay_plan_letters (plan_id, letter_id, position, failed_at, class)
SELECT %s, id, row_number() OVER (), failed_at, 'valid' FROM dead
"""


def test_unused_plans_are_deleted_with_their_letters(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters first, in bounded batches. A plan that was replayed lately is kept."""
    monkeypatch.setattr(module, "_BATCH", 10)
    old, used = (scalar(connection, _PLAN, days) for days in (91, 89))
    for plan_id in (old, used):
        connection.execute(_PLAN_LETTERS, [25, plan_id])
    counted = count_prunable(connection)
    gone = prune(connection)
    assert (gone["replay_plan_letters"], gone["replay_plans"]) == (25, 1)
    assert {name: counted[name] for name in gone} == gone
    assert {plan_id for (plan_id,) in connection.execute("SELECT id FROM engine.replay_plans")} == {used}
    assert scalar(connection, "SELECT count(*) FROM engine.replay_plan_letters") == 25
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 50


def test_an_expired_plan_is_not_replayed(connection: Connection, outside: Outside) -> None:
    """Its letters may be deleted from then on."""
    plan = plans.find(connection, scalar(connection, _PLAN, 91))
    connection.execute(_PLAN_LETTERS, [2, plan.id])
    connection.execute("UPDATE engine.replay_plans SET expired_at = now()")
    with pytest.raises(Conflict, match="has expired, it was not used for long; make a new one"):
        replay.run(connection, plan, replay.Pace(), actor="ana", reason="late", show=lambda _: None)
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


_ACTION = "INSERT INTO engine.actions (actor, action, at) VALUES ('ana', 'pause', now() - %s * interval '1 day')"


def test_the_audit_log_is_kept_for_years(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the setting says, at least a year, and deleted in bounded batches."""
    monkeypatch.setattr(module, "_BATCH", 2)
    for days in (740, 741, 742, 400, 364, 0):
        connection.execute(_ACTION, [days])
    assert (count_prunable(connection)["actions"], prune(connection)["actions"]) == (3, 3)
    assert count_prunable(connection, older_than=1)["actions"] == 1
    assert prune(connection, older_than=1)["actions"] == 1
    assert scalar(connection, "SELECT count(*) FROM engine.actions") == 2


def test_the_database_protects_a_year_of_the_audit_log(connection: Connection, database: Database) -> None:
    """Not even the owner of the table can delete or change its entries."""
    for days in (0, 364, 400):
        connection.execute(_ACTION, [days])
    assert scalar(connection, "SELECT engine.prune_actions(0, 100)") == 1
    connection.execute(_ACTION, [400])
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("SET ROLE tallyman_owner")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("UPDATE engine.actions SET actor = 'nobody'")
        owner.execute("DELETE FROM engine.actions")
    assert scalar(connection, "SELECT count(*) FROM engine.actions") == 2


def test_only_finished_rows_are_deleted(connection: Connection) -> None:
    """Failed rows are left to the sweep. Waiting and running rows are kept."""
    for status in ("succeeded", "cancelled", "aborted"):
        row(connection, status, 8)
    kept = {row(connection, "failed", 1000), row(connection, "cancelled", 6), row(connection, "todo", 1000)}
    assert prune(connection)["procrastinate_jobs"] == 3
    assert {row_id for (row_id,) in connection.execute("SELECT id FROM public.procrastinate_jobs")} == kept


def test_the_mark_of_a_call_is_kept_as_long_as_its_letter(connection: Connection) -> None:
    """A replay must know that the call may have been made."""
    dead, resolved, long_resolved = (scalar(connection, _LETTER, None, days) for days in (None, 1, 100))
    connection.execute(_LEDGER, [1, 1])
    applied = scalar(connection, "SELECT event_id FROM engine.event_log")
    dead_again = scalar(connection, _LETTER, None, 100)
    connection.execute(_DIES_AGAIN, [dead_again])
    for event_id in (dead, resolved, long_resolved, applied, dead_again):
        connection.execute(_CALL, [event_id])
    assert prune(connection)["calls"] == 2
    assert {one for (one,) in connection.execute("SELECT event_id FROM engine.calls")} == {dead, resolved, dead_again}


def test_remains_of_dead_deliveries_are_deleted(connection: Connection) -> None:
    """Slots and parked entries of rows that are gone. Those of live deliveries and waiting rows are kept."""
    waiting, live = row(connection, "todo", 0), row(connection, "doing", 0)
    for n, row_id in enumerate((live, 10**9), 1):
        connection.execute(
            "INSERT INTO engine.slots (key, n, row_id, attempts) VALUES ('account', %s, %s, 0)", [n, row_id]
        )
    for row_id in (waiting, live, 10**9):
        connection.execute("INSERT INTO engine.parked (row_id, key) VALUES (%s, 'account')", [row_id])
    gone = prune(connection)
    assert (gone["slots"], gone["parked"]) == (1, 2)
    assert scalar(connection, "SELECT row_id FROM engine.slots") == live
    assert scalar(connection, "SELECT row_id FROM engine.parked") == waiting


def test_a_left_position_is_removed_and_held_events_follow(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """An older program applied the event without removing its position."""
    (path,) = paths(1)
    steps = [step(path, n) for n in range(2)]
    publish(connection, steps[0], delay=60)
    publish(connection, steps[1])
    deliver(worker, connection)
    connection.execute(
        "INSERT INTO engine.event_log (event_id, type, version, data, occurred_at) VALUES (%s, 'x', 1, '{}', now())",
        [steps[0].id],
    )
    assert count_prunable(connection)["sequence"] == 1
    assert prune(connection)["sequence"] == 1
    deliver(worker, connection)
    assert taken(connection, path) == [1]
    assert all(verdict.holds for verdict in audit(connection, ordering.INVARIANTS))


def test_two_concurrent_prunes_delete_each_row_once(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They skip each other's rows without waiting."""
    monkeypatch.setattr(module, "_BATCH", 50)
    connection.execute(_LEDGER, [31, 2000])

    def one(_: int) -> int:
        with doors.connect(database.url) as other:
            other.execute("SET lock_timeout = '1ms'")
            other.commit()
            return prune(other)["event_log"]

    with ThreadPoolExecutor(4) as threads:
        dropped = sum(threads.map(one, range(4)))
    assert dropped + prune(connection)["event_log"] == 2000


def test_locked_rows_are_skipped(database: Database, connection: Connection) -> None:
    """They are deleted by the next prune."""
    event_id = scalar(connection, _LETTER, None, 100)
    connection.execute(_LETTER, [None, 100])
    with doors.connect(database.url) as admin:
        admin.execute("SELECT FROM engine.failed_jobs WHERE event_id = %s FOR UPDATE", [event_id])
        assert prune(connection)["failed_jobs"] == 1
    assert prune(connection)["failed_jobs"] == 1


def test_a_tenant_with_too_many_dead_letters_is_named(
    connection: Connection, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a warning. Nothing is deleted."""
    monkeypatch.setenv("TALLYMAN_DEAD_LETTERS_A_TENANT", "2")
    settings.cache_clear()
    for _ in range(3):
        connection.execute(_LETTER, [workspace.id, None])
    connection.execute(_LETTER, [None, None])
    with structlog.testing.capture_logs() as lines:
        prune(connection)
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert (warning["tenant"], warning["letters"], warning["limit"]) == (str(workspace.id), 3, 2)
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 4


def test_a_periodic_task_runs_once_a_period_however_many_workers_there_are(
    connection: Connection, outside: Outside
) -> None:
    """Two workers defer the same task for one time: one row is inserted."""
    at = 1_800_000_060.0

    async def run() -> None:
        connector = psycopg_connector.PsycopgConnector(
            json_loads=load_arguments, pool_factory=_pool, min_size=1, max_size=4
        )
        with app.replace_connector(connector):
            async with app.open_async():
                workers = [periodic.PeriodicDeferrer(app.periodic_registry) for _ in range(2)]
                await asyncio.gather(*(one.defer_jobs(list(one.get_previous_tasks(at=at))) for one in workers))

    asyncio.run(run())
    tasks = sorted(task for task, _ in app.periodic_registry.periodic_tasks)
    rows = connection.execute("SELECT task_name FROM public.procrastinate_jobs ORDER BY task_name").fetchall()
    assert "prune" in tasks
    assert [name for (name,) in rows] == tasks
    connection.execute("DELETE FROM public.procrastinate_jobs")
    asyncio.run(run())
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
