"""Item counters of jobs, exact at every commit."""

from __future__ import annotations

import psycopg
import pytest

from app import database as doors
from app.engine.batches import counters
from app.engine.batches.counters import Counted
from events import new_id
from tests.conftest import Database
from tests.helpers.cards import PRINTS, Office


def test_jobs_are_locked_in_the_order_of_their_ids(database: Database, office: Office) -> None:
    """Until the transaction ends. Ids without a job are left out."""
    one, two, three = sorted(office.submit("a").id for _ in range(3))
    free = "SELECT id FROM cards.prints ORDER BY id FOR UPDATE SKIP LOCKED"
    with doors.connect(database.url, autocommit=True) as session:
        with office.connection.transaction():
            assert counters.lock(office.connection, PRINTS, [three, new_id(), one]) == [one, three]
            assert session.execute(free).fetchall() == [(two,)]
        assert len(session.execute(free).fetchall()) == 3


def test_only_the_change_that_counts_the_last_item_completes_a_job(office: Office) -> None:
    """Later changes that add nothing do not complete it again. Other jobs stay as they are."""
    job, other = office.submit("a", "b", "c"), office.submit("x")
    with office.connection.transaction(force_rollback=True):
        counters.lock(office.connection, PRINTS, [job.id])
        assert counters.count(office.connection, PRINTS, {job.id: (1, 1)}) == [Counted(job.id, 3, 1, 1, is_done=False)]
        assert counters.count(office.connection, PRINTS, {job.id: (1, 0)}) == [Counted(job.id, 3, 2, 1, is_done=True)]
        assert counters.count(office.connection, PRINTS, {job.id: (0, 0)}) == [Counted(job.id, 3, 2, 1, is_done=False)]
        assert office.job(other.id).success_count == 0


def test_counters_can_go_down(office: Office) -> None:
    """A retry takes failed items out. A completed job that gets its last result again is completed again."""
    job = office.submit("a", "b")
    with office.connection.transaction(force_rollback=True):
        counters.count(office.connection, PRINTS, {job.id: (1, 1)})
        assert counters.count(office.connection, PRINTS, {job.id: (0, -1)}) == [Counted(job.id, 2, 1, 0, is_done=False)]
        assert counters.count(office.connection, PRINTS, {job.id: (1, 0)}) == [Counted(job.id, 2, 2, 0, is_done=True)]


@pytest.mark.parametrize("change", [(2, 0), (0, 2), (1, 1), (-1, 0)])
def test_the_database_refuses_impossible_counters(office: Office, change: tuple[int, int]) -> None:
    """More results than items, or fewer than none."""
    job = office.submit("a")
    with pytest.raises(psycopg.errors.CheckViolation):
        counters.count(office.connection, PRINTS, {job.id: change})
    assert office.job(job.id) == job


def test_several_jobs_are_counted_in_one_statement(office: Office) -> None:
    """No changes need none."""
    one, two = office.submit("a"), office.submit("b")
    assert counters.count(office.connection, PRINTS, {}) == []
    with office.connection.transaction(force_rollback=True):
        found = counters.count(office.connection, PRINTS, {one.id: (1, 0), two.id: (0, 1), new_id(): (1, 0)})
    assert {counted.job_id: (counted.succeeded, counted.failed) for counted in found} == {
        one.id: (1, 0),
        two.id: (0, 1),
    }
