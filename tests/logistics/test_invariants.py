"""Audit: each invariant is a query that finds its violations only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from app import database as doors
from app.context import Connection
from app.engine.inspect.invariants import ENGINE, Verdict, audit
from app.engine.queue import ordering
from app.logistics import jobs
from app.logistics.parts import PARTS
from app.program import INVARIANTS
from tests.conftest import Database
from tests.helpers.shops import Shop
from tests.helpers.support import drain_all

BREAKS: dict[str, str] = {
    "no event is applied and dead": """
        INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id)
        SELECT type, '{}', 'x', 1, event_id FROM engine.event_log LIMIT 1""",
    "no outside call is under way that is recorded already": """
        INSERT INTO engine.calls (event_id, row_id, attempts) SELECT event_id, 1, 0 FROM engine.event_log LIMIT 1""",
    "robot jobs: the counters equal the items": "UPDATE logistics.robot_jobs SET success_count = success_count - 1",
    "robot jobs: ended if and only if every item has a result": """
        UPDATE logistics.robot_jobs SET status = 'processing'""",
    "robot jobs: failed if and only if nothing succeeded": "UPDATE logistics.robot_jobs SET status = 'failed'",
    "robot jobs: completed once a generation": """
        INSERT INTO engine.event_log (event_id, type, version, subject_id, data, occurred_at)
        SELECT gen_random_uuid(), type, version, subject_id, data, occurred_at FROM engine.event_log
         WHERE type = 'robot/job.completed'""",
    "robot jobs: one successful call an item": """
        INSERT INTO engine.event_log (event_id, type, version, subject_id, causation_id, data, occurred_at)
        SELECT gen_random_uuid(), type, version, subject_id, causation_id, data || '{"tracking_number": "other"}', now()
          FROM engine.event_log WHERE type = 'robot/item.completed' LIMIT 1""",
    "robot jobs: no item succeeded past a call in doubt": """
        WITH dead AS (
            INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id, resolved_at)
            SELECT type, jsonb_build_object('data', data), 'x', 1, gen_random_uuid(), now() FROM engine.event_log
             WHERE type = 'robot/item.requested' LIMIT 1 RETURNING event_id)
        INSERT INTO engine.calls (event_id, row_id, attempts) SELECT event_id, 1, 0 FROM dead""",
    "robot jobs: what has ended has said so": """
        WITH gone AS (DELETE FROM engine.event_log WHERE type = 'robot/job.completed')
        UPDATE logistics.robot_jobs SET completed_at = now() - interval '1 hour'""",
    "robot jobs: tracking numbers and successes agree": """
        UPDATE logistics.robot_job_items SET tracking_number = NULL
         WHERE id = (SELECT id FROM logistics.robot_job_items LIMIT 1)""",
    "robot jobs: status and timestamps agree": "UPDATE logistics.robot_jobs SET completed_at = NULL",
    "no delivery runs for longer than a day": """
        INSERT INTO public.procrastinate_jobs (queue_name, task_name) VALUES ('events', 'consume');
        UPDATE public.procrastinate_jobs SET status = 'doing';
        UPDATE public.procrastinate_events SET at = now() - interval '25 hours'""",
    "sequence: an applied event does not wait": """
        INSERT INTO engine.sequence (type, subject_id, event_id)
        SELECT type, gen_random_uuid(), event_id FROM engine.event_log LIMIT 1""",
    "sequence: the first event of a subject is not held": """
        INSERT INTO engine.sequence (type, subject_id, event_id, held, attempt, held_at)
        VALUES ('x', gen_random_uuid(), gen_random_uuid(), '{}', 0, now())""",
}
GUARDED: dict[str, str] = {
    "no event is dead twice": """
        DROP INDEX engine.failed_jobs_unresolved_event_id_key;
        INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id)
        SELECT 'x', '{}', 'x', 1, id FROM (VALUES (gen_random_uuid())) AS event (id), generate_series(1, 2)""",
    "robot jobs: success and error are within the total": """
        ALTER TABLE logistics.robot_jobs DROP CONSTRAINT robot_jobs_counts;
        UPDATE logistics.robot_jobs SET error_count = error_count + 1""",
    "robot jobs: one job a workspace and idempotency key": """
        ALTER TABLE logistics.robot_jobs DROP CONSTRAINT robot_jobs_workspace_id_idempotency_key_key;
        INSERT INTO logistics.robot_jobs (workspace_id, idempotency_key)
        SELECT workspace_id, 'twice' FROM logistics.robot_jobs, generate_series(1, 2)""",
    "robot jobs: no item ties an order to another workspace's job": """
        UPDATE logistics.orders SET workspace_id = gen_random_uuid()
         WHERE id = (SELECT order_id FROM logistics.robot_job_items LIMIT 1)""",
    "carriers: no password is stored plain": """
        ALTER TABLE logistics.carrier_configs DROP CONSTRAINT carrier_configs_password_sealed;
        UPDATE logistics.carrier_configs SET portal_password = 'secret'""",
}
"""What the database itself refuses: seeded in a transaction without its triggers and constraints, and rolled back."""


def verdicts(database: Database) -> dict[str, Verdict]:
    """Return the audit's verdicts by name."""
    with doors.connect(database.url) as connection:
        return {verdict.name: verdict for verdict in audit(connection, INVARIANTS)}


@pytest.fixture
def shipped(shop: Shop) -> Callable[[], Any]:
    """A completed job."""
    job = jobs.create_robot_job(shop.context, shop.order(3))
    drain_all(shop.connection)
    return lambda: job


def test_a_completed_job_violates_nothing(database: Database, shipped: object) -> None:
    """Every invariant holds."""
    assert [name for name, verdict in verdicts(database).items() if not verdict.holds] == []


def test_every_invariant_is_broken_here() -> None:
    """Each invariant has a case that violates it, so its query is tested."""
    known = (*ENGINE, *ordering.INVARIANTS, *PARTS.invariants)
    assert sorted([*BREAKS, *GUARDED]) == sorted(invariant.name for invariant in known)


@pytest.mark.parametrize("name", BREAKS)
def test_a_violation_is_found(database: Database, connection: Connection, shipped: object, name: str) -> None:
    """By its own query, with the rows."""
    connection.execute(BREAKS[name].encode())
    verdict = verdicts(database)[name]
    assert verdict.violations == 1
    assert len(verdict.rows) == 1


@pytest.mark.parametrize("name", GUARDED)
def test_violations_that_constraints_prevent_are_found_too(database: Database, shipped: object, name: str) -> None:
    """A constraint can be dropped."""
    (invariant,) = (one for one in INVARIANTS if one.name == name)
    with psycopg.connect(database.superuser_url) as admin:
        assert admin.execute(invariant.statement).fetchall() == []
        admin.execute("SET LOCAL session_replication_role = replica")
        admin.execute(GUARDED[name].encode())
        assert len(admin.execute(invariant.statement).fetchall()) == 1
        admin.rollback()
