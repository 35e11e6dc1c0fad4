"""Audit of collection: each invariant is a query that finds what breaks it, and nothing else."""

from __future__ import annotations

import psycopg
import pytest

from app import database as doors
from app.collection import runs
from app.collection.invariants import COLLECTION
from app.collection.settings import set_settings
from app.context import Connection
from app.engine.inspect.invariants import Verdict, audit
from app.program import INVARIANTS
from events.collection import FoundItem
from tests.collection.conftest import MARKETPLACE, Team
from tests.conftest import Database
from tests.helpers.collecting import Desk

_RUN = "UPDATE collection.collection_runs SET"
_COMPLETED = "WHERE name = 'completed'"

BREAKS: dict[str, str] = {
    "the counters equal the items": f"{_RUN} processed_items = processed_items - 1 {_COMPLETED}",
    "spent and overrun equal the charges of the pages": f"{_RUN} actual_cost_cents = 1 {_COMPLETED}",
    "reserved equals the reservations of the pages": f"{_RUN} reserved_cost_cents = 1 {_COMPLETED}",
    "an overrun is left only if the cap is reached": f"""
        UPDATE collection.collection_pages p SET cost_cents = cost_cents + 1
          FROM collection.collection_runs r WHERE r.id = p.run_id AND r.name = 'running' AND p.status = 'completed';
        {_RUN} overrun_cents = 1 WHERE name = 'running'""",  # noqa: S608 - a constant
    "the costs of a page's items add up to the page's": """
        UPDATE collection.collection_items SET cost_cents = cost_cents + 1
         WHERE id = (SELECT min(id::text)::uuid FROM collection.collection_items)""",
    "no organisation has more running than allowed": """
        UPDATE collection.collection_settings SET max_concurrent_runs = 1""",
    "a running one has an open page or an unfinished item": """
        UPDATE collection.collection_pages p SET status = 'failed', completed_at = now()
          FROM collection.collection_runs r WHERE r.id = p.run_id AND r.name = 'running' AND p.status = 'pending'""",
    "an ended one has no page that waits": """
        UPDATE collection.collection_pages p SET status = 'pending', completed_at = NULL
         FROM collection.collection_runs r WHERE r.id = p.run_id AND r.name = 'completed'""",
    "a page that is asked for has its request or its result": """
        DELETE FROM public.procrastinate_jobs WHERE queue_name = 'marketplaces'
           AND args::text LIKE '%' || (SELECT id FROM collection.collection_runs WHERE name = 'running') || '%'""",
    "none waits for a free place without an event that starts it": """
        UPDATE collection.collection_settings SET max_concurrent_runs = 3""",
    "completed once": """
        INSERT INTO engine.event_log (event_id, type, version, subject_id, data, occurred_at)
        SELECT gen_random_uuid(), type, version, subject_id, data, occurred_at FROM engine.event_log
         WHERE type = 'collection/job.completed'""",
    "warned once": """
        INSERT INTO engine.event_log (event_id, type, version, subject_id, data, occurred_at)
        SELECT gen_random_uuid(), 'collection/budget.warned', 1, subject_id, '{}', now() FROM engine.event_log,
               generate_series(1, 2) WHERE type = 'collection/job.completed'""",
    "status and timestamps agree": """
        UPDATE collection.collection_pages SET status = 'processing', started_at = NULL WHERE status = 'pending'
           AND run_id = (SELECT id FROM collection.collection_runs WHERE name = 'running')""",
}
GUARDED: dict[str, str] = {
    "spent and reserved are within the cap": f"{_RUN} budget_cap_cents = actual_cost_cents - 1 {_COMPLETED}",
    "one an organisation and idempotency key": f"""
        ALTER TABLE collection.collection_runs
         DROP CONSTRAINT collection_runs_org_id_idempotency_key_key;
        {_RUN} idempotency_key = 'twice' WHERE name IN ('completed', 'running')""",
    "marketplaces: no API key is stored plain": """
        ALTER TABLE collection.marketplace_accounts DROP CONSTRAINT marketplace_accounts_key_sealed;
        UPDATE collection.marketplace_accounts SET api_key = 'plain'""",
}
"""What the database itself refuses: seeded in a transaction without its triggers and constraints, and rolled back."""

_DROP_CHECKS = "ALTER TABLE collection.collection_runs DROP CONSTRAINT IF EXISTS collection_runs_within_cap"


def full_name(name: str) -> str:
    """The name that the audit shows."""
    return name if ":" in name else f"collection runs: {name}"


def broken(database: Database) -> dict[str, Verdict]:
    """The verdicts of the audit that do not hold, by name."""
    with doors.connect(database.url) as connection:
        return {verdict.name: verdict for verdict in audit(connection, INVARIANTS) if not verdict.holds}


@pytest.fixture
def two_runs(team: Team) -> Team:
    """One completed run with items, two running ones, one that waits; three may run, by a row of settings."""
    set_settings(team.context, actor="ana", max_concurrent_runs=2)
    items = [
        FoundItem(marketplace=MARKETPLACE, item_type="amazon_product", external_id=f"B00000000{n}", data={"title": "x"})
        for n in range(3)
    ]
    done = team.start(name="completed")
    team.spend(done, 50, more=False, items=items)
    for name in ("running", "running too", "waiting"):
        team.start(name=name)
    team.spend(next(run for run in runs.list_runs(team.context) if run.name == "running"), 7)
    return team


def test_nothing_is_broken_after_runs_in_every_state(database: Database, two_runs: Team) -> None:
    """With pages in their queue, waiting runs and completed ones."""
    assert {run.status for run in runs.list_runs(two_runs.context)} == {"completed", "running", "pending"}
    assert broken(database) == {}


def test_nothing_is_broken_after_a_run_at_a_marketplace(database: Database, desk: Desk) -> None:
    """After the whole path: pages, items, counters and cost."""
    run = desk.submit("books", "toys")
    desk.work()
    assert desk.run(run.id).status == "completed"
    assert broken(database) == {}


def test_every_invariant_is_broken_here() -> None:
    """A new invariant needs a violation, or nobody knows whether its query finds anything."""
    assert sorted(full_name(name) for name in (*BREAKS, *GUARDED)) == sorted(one.name for one in COLLECTION)


@pytest.mark.parametrize("name", BREAKS)
def test_a_violation_is_found_and_named(database: Database, connection: Connection, two_runs: Team, name: str) -> None:
    """The invariant's own query finds it, with the row."""
    connection.execute(BREAKS[name].encode())
    verdict = broken(database)[full_name(name)]
    assert (verdict.violations, len(verdict.rows)) == (1, 1)


@pytest.mark.parametrize("name", GUARDED)
def test_what_the_database_refuses_would_be_found_too(database: Database, two_runs: Team, name: str) -> None:
    """A constraint can be dropped, so its condition is an invariant too."""
    (invariant,) = (one for one in COLLECTION if one.name == full_name(name))
    with psycopg.connect(database.superuser_url) as admin:
        assert admin.execute(invariant.statement).fetchall() == []
        admin.execute("SET LOCAL session_replication_role = replica")
        admin.execute(_DROP_CHECKS)
        admin.execute(GUARDED[name].encode())
        assert len(admin.execute(invariant.statement).fetchall()) == 1
        admin.rollback()
