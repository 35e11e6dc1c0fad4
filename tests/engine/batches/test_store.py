"""SQL for jobs and items of a batch."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.engine.batches import store
from app.engine.batches.rules import JobStatus
from events import new_id
from tests.helpers.card_events import deliver, failed, said
from tests.helpers.cards import PRINTS, Office, Print


def insert(office: Office, key: str | None = None) -> Print | None:
    """Insert a job of one card without its items."""
    return store.insert_job(
        office.context, PRINTS, new_id(), total=1, request={"paper": "matt"}, key=key, fingerprint="f"
    )


def test_a_key_is_taken_by_one_job_of_its_tenant(office: Office, other: Office) -> None:
    """Jobs without a key, and those of other tenants, are not compared."""
    with office.connection.transaction(force_rollback=True):
        made = insert(office, "key")
        assert made is not None
        assert (made.paper, made.total_items, made.status, made.request_fingerprint) == ("matt", 1, "pending", "f")
        assert insert(office, "key") is None
        assert all(insert(one, key) for one, key in ((other, "key"), (office, None), (office, None)))
        assert store.job_by_key(office.context, PRINTS, "key") == made
        assert store.job_by_key(office.context, PRINTS, "another") is None


def test_a_job_is_found_for_its_tenant_only(office: Office, other: Office) -> None:
    """Operators find it by its id alone."""
    job = office.submit("a")
    with office.connection.transaction():
        for find in (store.job_by_id, store.lock_job):
            assert find(office.context, PRINTS, job.id) == job
            assert find(other.context, PRINTS, job.id) is None
    assert store.any_job(office.connection, PRINTS, job.id) == job
    assert store.any_job(office.connection, PRINTS, new_id()) is None
    assert store.owners(office.connection, PRINTS, [job.id, new_id()]) == {job.id: (office.workspace_id, "pending")}


def test_jobs_are_listed_newest_first(office: Office, other: Office) -> None:
    """From the one before a job, of a status, up to a limit."""
    other.submit("x")
    jobs = [office.submit("a") for _ in range(3)]
    newest = jobs[::-1]

    def listed(**options: object) -> list[Print]:
        wanted = {"status": None, "before": None, "limit": 10, **options}
        return store.select_jobs(office.context, PRINTS, **wanted)  # type: ignore[arg-type]

    assert listed() == newest
    assert listed(before=jobs[2].id) == newest[1:]
    assert listed(limit=2) == newest[:2]
    assert (listed(status="pending"), listed(status="failed")) == (newest, [])
    with office.connection.transaction(force_rollback=True):
        store.set_status(office.connection, PRINTS, [jobs[1].id], "processing")
        assert [job.id for job in listed(status="processing")] == [jobs[1].id]


def test_items_are_read_in_the_order_of_submission(office: Office) -> None:
    """After an item, of a status, up to a limit; by their ids, of any tenant."""
    job = office.submit("a", "b", "c")
    first, second, third = office.cards(job.id)
    assert [card.address for card in (first, second, third)] == ["a", "b", "c"]
    deliver(office, failed(office, second))
    second = office.cards(job.id)[1]
    connection = office.connection
    assert store.select_items(connection, PRINTS, job.id, after=first.id, limit=1) == [second]
    assert store.select_items(connection, PRINTS, job.id, status="error", limit=10) == [second]
    assert store.items_by_id(connection, PRINTS, [third.id, new_id()]) == {third.id: third}
    assert store.count_errors(connection, PRINTS, job.id) == {"unknown": 1}


def test_the_states_of_items_have_the_engines_words_and_their_work(office: Office) -> None:
    """Locked or not. Pending ones are those whose call has not begun."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    with office.connection.transaction(force_rollback=True):
        connection = office.connection
        store.begin_items(connection, PRINTS, [first.id])
        states = store.item_states(connection, PRINTS, [second.id, first.id, new_id()])
        assert states == store.lock_items(connection, PRINTS, [second.id, first.id, new_id()])
        found = states[first.id]
        assert (found.job_id, found.tenant_id, found.status) == (job.id, office.workspace_id, "processing")
        assert (found.retry_count, found.about) == (0, ("a", 1))
        assert store.not_begun(connection, PRINTS, job.id, 10) == [states[second.id]]
        assert store.not_begun(connection, PRINTS, job.id, 0) == []
        assert store.lock_failed_items(connection, PRINTS, job.id) == []
    deliver(office, failed(office, first))
    assert store.lock_failed_items(office.connection, PRINTS, job.id) == [first.id]


def test_only_pending_items_begin(office: Office) -> None:
    """An item with a result keeps it."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, said(office, first))
    with office.connection.transaction(force_rollback=True):
        store.begin_items(office.connection, PRINTS, [first.id, second.id])
        assert [card.status for card in office.cards(job.id)] == ["success", "processing"]
        assert office.cards(job.id)[1].started_at is not None


@pytest.mark.parametrize(
    ("status", "has_started", "has_completed"),
    [("pending", False, False), ("processing", True, False), ("completed", True, True), ("failed", True, True)],
)
def test_a_status_and_its_times_agree(
    office: Office, status: JobStatus, *, has_started: bool, has_completed: bool
) -> None:
    """The start is kept; the end is only of a job that ended."""
    job = office.submit("a")
    with office.connection.transaction(force_rollback=True):
        store.set_status(office.connection, PRINTS, [job.id], status)
        found = office.job(job.id)
        assert (found.started_at is not None, found.completed_at is not None) == (has_started, has_completed)
        store.set_status(office.connection, PRINTS, [job.id], "processing")
        again = office.job(job.id)
        assert again.completed_at is None
        assert not has_started or again.started_at == found.started_at


def test_a_reset_item_has_its_next_attempt(office: Office) -> None:
    """Its error and times are cleared, and the time of the retry is set."""
    job = office.submit("a")
    (card,) = office.cards(job.id)
    deliver(office, failed(office, card))
    with office.connection.transaction(force_rollback=True):
        store.reset_items(office.connection, PRINTS, [card.id])
        (found,) = office.cards(job.id)
    assert (found.status, found.retry_count, found.error_type, found.error_message) == ("pending", 1, None, None)
    assert (found.started_at, found.completed_at, found.last_retry_at is not None) == (None, None, True)


def test_the_next_generation_runs_again(office: Office) -> None:
    """A job that ended is not cancelled any more; one that is cancelled and not done stays cancelled."""
    ended, running = office.submit("a"), office.submit("b")
    with office.connection.transaction(force_rollback=True):
        connection = office.connection
        for job in (ended, running):
            assert store.mark_cancelled(connection, PRINTS, job.id, "ana", "x")
            assert not store.mark_cancelled(connection, PRINTS, job.id, "luis", "y")
        store.set_status(connection, PRINTS, [ended.id], "failed")
        store.begin_generation(connection, PRINTS, [ended.id, running.id])
        one, two = office.job(ended.id), office.job(running.id)
    assert (one.status, one.generation, one.completed_at, one.cancelled_by) == ("processing", 2, None, None)
    assert (two.status, two.generation, two.cancelled_by, two.cancel_reason) == ("processing", 2, "ana", "x")


@pytest.mark.parametrize("page", [1, 2, 100])
def test_pending_items_are_read_by_pages(office: Office, page: int) -> None:
    """Each once, with its attempt and its work; all of the job, or those that are named."""
    job = office.submit("a", "b", "c", "d")
    first, second, third, fourth = office.cards(job.id)
    deliver(office, said(office, second))

    def pending(only: list[object] | None = None) -> list[tuple[object, ...]]:
        return list(store.pending_items(office.connection, PRINTS, job.id, only, page))  # type: ignore[arg-type]

    assert pending() == [(first.id, 0, "a", 1), (third.id, 0, "c", 1), (fourth.id, 0, "d", 1)]
    assert [row[0] for row in pending([second.id, fourth.id, uuid4()])] == [fourth.id]
    assert pending([]) == []
