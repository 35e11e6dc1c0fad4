"""`prune`: prune by hand."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.settings import settings
from tests.commands.conftest import Run
from tests.helpers.support import scalar


@pytest.fixture
def old(connection: Connection) -> Connection:
    """A ledger with two old events and a recent one."""
    connection.execute(
        "INSERT INTO engine.event_log (event_id, type, version, data, occurred_at, applied_at)"
        " SELECT gen_random_uuid(), 'x', 1, '{}', now(), now() - d * interval '1 day' FROM unnest(ARRAY[40, 50, 2]) d"
    )
    return connection


def test_a_dry_run_counts_and_drops_nothing(run: Run, old: Connection) -> None:
    """One line for each table, or one JSON record."""
    (counts,) = run("prune", "--dry-run", "--json").rows
    assert (counts["event_log"], counts["failed_jobs"], counts["dry_run"]) == (2, 0, True)
    assert "event_log\t2" in run("prune", "--dry-run").out.splitlines()
    assert scalar(old, "SELECT count(*) FROM engine.event_log") == 3


def test_it_asks_before_it_deletes(run: Run, old: Connection) -> None:
    """Off a terminal without --yes it exits with 2."""
    done = run("prune")
    assert (done.code, done.out) == (2, "")
    assert "Drop 2 rows?" in done.err
    assert scalar(old, "SELECT count(*) FROM engine.event_log") == 3
    (counts,) = run("prune", "--yes", "--json").rows
    assert (counts["event_log"], counts["dry_run"]) == (2, False)
    assert scalar(old, "SELECT count(*) FROM engine.event_log") == 1
    assert run("prune", "--json").code == 0


def test_the_age_can_be_given(run: Run, old: Connection) -> None:
    """At least a day: repeated events must still be in the ledger."""
    assert run("prune", "--older-than", 0, "--yes").code == 2
    (counts,) = run("prune", "--older-than", 1, "--yes", "--json").rows
    assert counts["event_log"] == 3


def test_tenants_with_too_many_dead_letters_are_named(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr."""
    monkeypatch.setenv("TALLYMAN_DEAD_LETTERS_A_TENANT", "1")
    settings.cache_clear()
    for _ in range(2):
        connection.execute(
            "INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count)"
            " VALUES ('x', '{}', 'no', 1)"
        )
    assert "2 dead letters of no tenant, more than 1" in run("prune", "--dry-run").err
