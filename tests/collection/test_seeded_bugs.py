"""A wrong version of the budget that the tests must detect: read, then written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from app.collection import budget
from app.context import Connection
from tests.collection.test_budget import test_two_workers_cannot_both_reserve_the_last_cents as two_workers
from tests.conftest import Database
from tests.helpers.collecting import Desk

_CHECK = "collection_runs_within_cap"
_READ = """
SELECT r.id, r.reserved_cost_cents + p.price_cents, r.actual_cost_cents + r.reserved_cost_cents + p.price_cents
       <= r.budget_cap_cents
  FROM collection.collection_pages p JOIN collection.collection_runs r ON r.id = p.run_id WHERE p.id = %s
"""
_WRITE = "UPDATE collection.collection_runs SET reserved_cost_cents = %s WHERE id = %s"
_BEGIN = "UPDATE collection.collection_pages SET status = 'processing', reserved_cents = price_cents WHERE id = %s"


@contextmanager
def budget_read_then_written(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check the budget in the program, and reserve in a second statement. No constraint repeats the check."""
    read = threading.Barrier(2)

    def reserve(connection: Connection, page_ids: Sequence[UUID]) -> set[UUID]:
        (page_id,) = page_ids
        row = connection.execute(_READ, [page_id]).fetchone()
        assert row is not None
        run_id, reserved, fits = row
        read.wait(10)
        if not fits:
            return set()
        connection.execute(_WRITE, [reserved, run_id])
        connection.execute(_BEGIN, [page_id])
        return {page_id}

    table = sql.SQL("ALTER TABLE collection.collection_runs")
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        row = admin.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [_CHECK]
        ).fetchone()
        assert row is not None
        admin.execute(sql.SQL("{} DROP CONSTRAINT {}").format(table, sql.Identifier(_CHECK)))
        try:
            with patch.context() as patched:
                patched.setattr(budget, "reserve", reserve)
                yield
        finally:
            admin.execute("DELETE FROM collection.collection_runs")
            admin.execute(sql.SQL("{} ADD CONSTRAINT {} {}").format(table, sql.Identifier(_CHECK), sql.SQL(row[0])))


def test_a_budget_that_is_read_then_written_is_noticed(
    desk: Desk, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the wrong version in place the test of two workers and the last cents fails."""
    with budget_read_then_written(database, monkeypatch), pytest.raises(AssertionError, match="1, 1"):
        two_workers(desk, database, locks=False)
