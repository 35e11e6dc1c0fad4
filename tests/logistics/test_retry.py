"""Retry: failed items are requested again as a new generation, which completes once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from uuid import UUID, uuid4, uuid5

import pytest

from app import database as doors
from app.context import Context
from app.engine.batches.rules import ITEMS_A_REQUEST
from app.engine.queue.publish import publish
from app.errors import Conflict, NotFound
from app.logistics.jobs import get_robot_job, retry_failed_items
from app.simulators.portal import Portal
from events import SIZE_LIMIT
from events.robot import JobSubmitted
from tests.conftest import Database
from tests.helpers.robot_results import (
    broken,
    everything,
    failure,
    items_of,
    ledger,
    said,
    submitted,
    success,
    update_job_item_result,
    update_job_item_results,
)
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar

pytestmark = pytest.mark.usefixtures("hasty")


def ended(shop: Shop, good: int, bad: int) -> UUID:
    """Return a job with these numbers of succeeded and failed items."""
    job, items = submitted(shop, good + bad)
    update_job_item_results(shop.context, [success(i) if n < good else failure(i) for n, i in enumerate(items)])
    drain(queues=["events"])
    return job.id


def asked(shop: Shop) -> list[UUID]:
    """Return the requested items in the queue."""
    rows = shop.connection.execute("SELECT args FROM public.procrastinate_jobs WHERE queue_name = 'robots' ORDER BY id")
    return [UUID(event["data"]["item_id"]) for (args,) in rows for event in args["events"]]


def test_all_failed_items_are_requested_again(shop: Shop) -> None:
    """Counters, generation and attempts agree. Succeeded items stay."""
    job_id = ended(shop, good=2, bad=3)
    failed = [item.id for item in items_of(shop, job_id) if item.status == "error"]
    done = retry_failed_items(shop.context, job_id)
    assert (done.items, done.job.status, done.job.generation) == (3, "processing", 2)
    assert (done.job.success_count, done.job.error_count, done.job.completed_at) == (2, 0, None)
    again = [item for item in items_of(shop, job_id) if item.id in failed]
    assert {(i.status, i.retry_count, i.error_type, i.error_message, i.completed_at) for i in again} == {
        ("pending", 1, None, None, None)
    }
    assert all(item.last_retry_at is not None for item in again)
    assert broken(shop.connection) == []
    drain(queues=["events"])
    assert asked(shop) == failed


def test_named_items_are_requested_again(shop: Shop) -> None:
    """Each once. The others stay failed."""
    job_id = ended(shop, good=0, bad=4)
    first, second, *others = items_of(shop, job_id)
    done = retry_failed_items(shop.context, job_id, [second.id, first.id, second.id])
    assert (done.items, done.job.error_count, done.job.generation) == (2, 2, 2)
    assert [item.retry_count for item in items_of(shop, job_id)] == [1, 1, 0, 0]
    drain(queues=["events"])
    assert asked(shop) == [first.id, second.id]
    assert [item.status for item in items_of(shop, job_id)[2:]] == [item.status for item in others]


def test_a_retried_job_completes_once_more(shop: Shop) -> None:
    """Each generation has one completion with its own id and counters."""
    job_id = ended(shop, good=0, bad=2)
    assert get_robot_job(shop.context, job_id).status == "failed"
    retry_failed_items(shop.context, job_id)
    items = items_of(shop, job_id)
    update_job_item_results(shop.context, [success(items[0]), failure(items[1])])
    retry_failed_items(shop.context, job_id)
    update_job_item_result(shop.context, success(items_of(shop, job_id)[1]))
    drain(queues=["events"])
    job = get_robot_job(shop.context, job_id)
    assert (job.status, job.success_count, job.error_count, job.generation) == ("completed", 2, 0, 3)
    assert ledger(shop.connection, "robot/job.completed") == [
        {"job_id": str(job_id), "success_count": good, "error_count": bad, "generation": generation}
        for good, bad, generation in ((0, 2, 1), (1, 1, 2), (2, 0, 3))
    ]
    ids = {
        event_id
        for (event_id,) in shop.connection.execute(
            "SELECT event_id FROM engine.event_log WHERE type = 'robot/job.completed'"
        )
    }
    assert ids == {uuid5(job_id, f"robot/job.completed/{generation}") for generation in (1, 2, 3)}
    assert broken(shop.connection) == []


def test_a_job_that_has_not_ended_can_be_retried_too(shop: Shop) -> None:
    """Its failed items are requested while the others wait. It completes once."""
    job, (first, second) = submitted(shop, 2)
    drain(queues=["events"])
    update_job_item_result(shop.context, failure(first))
    assert retry_failed_items(shop.context, job.id).items == 1
    update_job_item_result(shop.context, success(second))
    assert get_robot_job(shop.context, job.id).status == "processing"
    update_job_item_result(shop.context, success(first, attempt=1))
    drain(queues=["events"])
    assert [data["generation"] for data in ledger(shop.connection, "robot/job.completed")] == [2]
    assert broken(shop.connection) == []


@pytest.mark.parametrize("others", ["pending", "processing", "success"])
def test_only_failed_items_can_be_retried(shop: Shop, others: str) -> None:
    """A waiting, running or succeeded item is a `Conflict` that names it, and nothing is requested."""
    job, (failed, other) = submitted(shop, 2)
    update_job_item_result(shop.context, failure(failed))
    if others == "success":
        update_job_item_result(shop.context, success(other))
    if others == "processing":
        shop.connection.execute("UPDATE logistics.robot_job_items SET status = 'processing' WHERE id = %s", [other.id])
    before = everything(shop.connection)
    with pytest.raises(Conflict, match=f"only failed items can be retried; {others}: {other.id}"):
        retry_failed_items(shop.context, job.id, [failed.id, other.id])
    assert everything(shop.connection) == before


@pytest.mark.parametrize("what", ["unknown", "of another job"])
def test_an_item_that_is_not_the_jobs_is_not_found(shop: Shop, what: str) -> None:
    """The error names it, and nothing is requested."""
    job_id = ended(shop, good=0, bad=1)
    other_id = ended(shop, good=0, bad=1)
    mismatched = uuid4() if what == "unknown" else items_of(shop, other_id)[0].id
    before = everything(shop.connection)
    with pytest.raises(NotFound, match=f"items: not of job {job_id}: {mismatched}"):
        retry_failed_items(shop.context, job_id, [items_of(shop, job_id)[0].id, mismatched])
    assert everything(shop.connection) == before


@pytest.mark.parametrize("named", [None, []])
def test_a_job_without_failures_stays_as_it_is(shop: Shop, named: list[UUID] | None) -> None:
    """No generation and no event. It is no error."""
    job_id = ended(shop, good=2, bad=0 if named is None else 1)
    before = everything(shop.connection)
    done = retry_failed_items(shop.context, job_id, named)
    assert (done.items, done.job) == (0, get_robot_job(shop.context, job_id))
    assert everything(shop.connection) == before


def test_a_late_result_of_the_attempt_before_changes_nothing(shop: Shop) -> None:
    """Recorded directly and as an event. The item waits for its new attempt."""
    job_id = ended(shop, good=0, bad=1)
    (item,) = items_of(shop, job_id)
    retry_failed_items(shop.context, job_id)
    drain(queues=["events"])
    late = success(item, "late", attempt=0)
    assert update_job_item_result(shop.context, late).late == 1
    publish(shop.connection, said(shop, late))
    drain(queues=["events"])
    assert items_of(shop, job_id)[0].status == "pending"
    update_job_item_result(shop.context, success(item, "right", attempt=1))
    publish(shop.connection, said(shop, late))
    drain(queues=["events"])
    assert items_of(shop, job_id)[0].tracking_number == "right"
    assert get_robot_job(shop.context, job_id).success_count == 1
    assert broken(shop.connection) == []


@pytest.mark.parametrize("how", ["all", "some"])
def test_of_two_concurrent_retries_one_counts(database: Database, shop: Shop, how: str) -> None:
    """One generation and one attempt more. The other finds nothing to retry, or raises `Conflict`."""
    job_id = ended(shop, good=0, bad=5)
    named = [item.id for item in items_of(shop, job_id)] if how == "some" else None
    start = Barrier(2)
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        connections = [stack.enter_context(doors.connect(database.url, autocommit=True)) for _ in range(2)]

        def retry(n: int) -> int | str:
            start.wait(10)
            try:
                return retry_failed_items(Context.start(connections[n], shop.workspace_id), job_id, named).items
            except Conflict:
                return "conflict"

        outcomes = list(threads.map(retry, range(2)))
    assert sorted(outcomes, key=str) == ([0, 5] if how == "all" else [5, "conflict"])
    job = get_robot_job(shop.context, job_id)
    assert (job.generation, job.error_count) == (2, 0)
    assert {item.retry_count for item in items_of(shop, job_id)} == {1}


def test_a_large_retry_is_split_into_events(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names a bounded number of items, and each item is requested once."""
    monkeypatch.setattr("app.engine.batches.rules.ITEMS_A_REQUEST", 4)
    job_id = ended(shop, good=1, bad=10)
    retry_failed_items(shop.context, job_id)
    drain(queues=["events"])
    submissions = [len(data.get("attempt_items") or ()) for data in ledger(shop.connection, "robot/job.submitted")]
    assert sorted(submissions) == [0, 2, 4, 4]
    assert sorted(asked(shop)) == [item.id for item in items_of(shop, job_id) if item.status == "pending"]


def test_the_largest_retry_fits_into_its_events() -> None:
    """The largest event is below the size limit."""
    named = tuple(uuid4() for _ in range(ITEMS_A_REQUEST))
    payload = JobSubmitted(job_id=uuid4(), carrier="c" * 40, item_count=len(named), attempt_items=named)
    assert len(payload.model_dump_json()) < SIZE_LIMIT - 2000


def test_an_item_that_two_events_request_is_entered_once(shop: Shop, portal: Portal) -> None:
    """It failed and was retried before the job's submission was delivered."""
    portal.change(latency_ms=50)
    job, (item,) = submitted(shop, 1)
    update_job_item_result(shop.context, failure(item))
    retry_failed_items(shop.context, job.id)
    drain_all(shop.connection)
    assert get_robot_job(shop.context, job.id).success_count == 1
    assert portal.record.summary().accepted == 1
    assert scalar(shop.connection, "SELECT count(*) FROM engine.calls") == 0
