"""Invariants for `audit` and checkups for `doctor`."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from app.context import Connection
from app.engine import batches
from app.engine.domain import Invariant
from app.engine.health.doctor import check_context, examine
from app.engine.inspect.invariants import audit
from app.testing.drain import drain_all
from tests.conftest import Database
from tests.helpers.cards import PRINTS, Office, PrintShop

INVARIANTS = {one.name.removeprefix("print jobs: "): one for one in batches.invariants(PRINTS)}
BREAKS: dict[str, str] = {
    "the counters equal the items": "UPDATE cards.prints SET success_count = success_count - 1",
    "success and error are within the total": """
        ALTER TABLE cards.prints DROP CONSTRAINT prints_counts;
        UPDATE cards.prints SET error_count = error_count + 1""",
    "ended if and only if every item has a result": "UPDATE cards.prints SET status = 'processing'",
    "failed if and only if nothing succeeded": "UPDATE cards.prints SET status = 'failed'",
    "completed once a generation": """
        INSERT INTO engine.event_log (event_id, type, version, subject_id, data, occurred_at)
        SELECT gen_random_uuid(), type, version, subject_id, data, occurred_at FROM engine.event_log
         WHERE type = 'test/print.completed'""",
    "what has ended has said so": """
        WITH gone AS (DELETE FROM engine.event_log WHERE type = 'test/print.completed')
        UPDATE cards.prints SET completed_at = now() - interval '1 hour'""",
    "no item succeeded past a call in doubt": """
        WITH dead AS (
            INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count, event_id, resolved_at)
            SELECT type, jsonb_build_object('data', data), 'x', 1, gen_random_uuid(), now() FROM engine.event_log
             WHERE type = 'test/card.requested' AND data ->> 'address' = 'a' RETURNING event_id)
        INSERT INTO engine.calls (event_id, row_id, attempts) SELECT event_id, 1, 0 FROM dead""",
    "one job a workspace and idempotency key": """
        ALTER TABLE cards.prints DROP CONSTRAINT prints_key;
        INSERT INTO cards.prints (id, workspace_id, paper, idempotency_key)
        SELECT gen_random_uuid(), workspace_id, 'matt', 'twice' FROM cards.prints, generate_series(1, 2)""",
    "status and timestamps agree": "UPDATE cards.prints SET completed_at = NULL",
}


def test_every_invariant_is_broken_here() -> None:
    """Each invariant has a case that violates it, so its query is tested."""
    assert sorted(BREAKS) == sorted(INVARIANTS)


@pytest.mark.parametrize("name", BREAKS)
def test_a_violation_is_found(database: Database, office: Office, name: str) -> None:
    """By its own invariant only. A job that ended violates none."""
    office.submit("a", "nowhere", "b")
    drain_all(office.connection)
    statement = INVARIANTS[name].statement
    with psycopg.connect(database.superuser_url) as admin:
        assert admin.execute(statement).fetchall() == []
        admin.execute(BREAKS[name].encode())
        assert len(admin.execute(statement).fetchall()) == 1
        admin.rollback()


def test_invariants_are_checked_by_the_audit(connection: Connection, office: Office) -> None:
    """In one snapshot with others."""
    own = Invariant("cards: nothing is wrong", "SELECT 1 WHERE false")
    found = audit(office.connection, [own, *INVARIANTS.values()])
    assert [one.holds for one in found] == [True] * (1 + len(INVARIANTS))


def test_a_missing_column_is_a_problem(database: Database, shop: PrintShop) -> None:
    """The doctor names table and column."""
    with check_context() as examined:
        (fine,) = examine(examined, batches.checkups(PRINTS))
        found = examine(examined, batches.checkups(replace(PRINTS, request=("paper", "ink"), about=("to",))))
    assert (fine.level, fine.what) == ("ok", "the tables have every column that the batch names")
    assert {(one.level, one.what) for one in found} == {
        ("problem", "cards.prints has no column ink"),
        ("problem", "cards.cards has no column to"),
    }
