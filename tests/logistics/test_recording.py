"""Results of robots: each counts once, for the attempt that waits for it, and the last one completes the job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest

from app import database as doors
from app.context import Context, HandlerContext
from app.engine.batches.results import Result
from app.errors import NotFound
from app.logistics.jobs import get_job_with_items, get_robot_job, retry_failed_items
from app.logistics.orders import get_orders
from app.logistics.recording import record
from app.logistics.store import ROBOT_JOBS
from events.robot import ItemCompleted
from tests.conftest import Database
from tests.helpers.robot_results import (
    broken,
    everything,
    failure,
    items_of,
    ledger,
    submitted,
    success,
    update_job_item_result,
    update_job_item_results,
)
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar


def test_a_success_is_recorded_with_all_fields(shop: Shop) -> None:
    """Item, counters and order: number, city, and what was sent."""
    job, (item, _) = submitted(shop, 2)
    applied = update_job_item_result(shop.context, success(item, "70000000001"))
    assert (applied.counted, applied.late) == (1, 0)
    done, waiting = items_of(shop, job.id)
    assert (done.status, done.tracking_number, done.validated_city) == ("success", "70000000001", "BOGOTA (C/MARCA)")
    assert done.value_sent == {"reference": f"{item.id}-0"}
    assert done.completed_at is not None
    assert waiting.status == "pending"
    after = get_robot_job(shop.context, job.id)
    assert (after.success_count, after.error_count, after.completed_at) == (1, 0, None)
    (order,) = get_orders(shop.context, [item.order_id])
    assert (order.tracking_number, order.status) == ("70000000001", "shipped")


def test_an_error_is_recorded_and_leaves_the_order(shop: Shop) -> None:
    """With its type. No event of the order is published."""
    job, (item, _) = submitted(shop, 2)
    before = get_orders(shop.context, [item.order_id])
    update_job_item_result(shop.context, failure(item, "timeout"))
    done = items_of(shop, job.id)[0]
    assert (done.status, done.error_type, done.error_message) == ("error", "timeout", "timeout: no")
    assert (done.tracking_number, done.completed_at is not None) == (None, True)
    after = get_job_with_items(shop.context, job.id)
    assert (after.job.success_count, after.job.error_count, after.errors) == (0, 1, {"timeout": 1})
    assert get_orders(shop.context, [item.order_id]) == before
    drain(queues=["events"])
    assert ledger(shop.connection, "order/updated") == []


def test_a_shipped_order_has_an_event(shop: Shop) -> None:
    """`order/updated`, once, with the fields before and after."""
    _, (item, _) = submitted(shop, 2)
    for _ in range(2):
        update_job_item_result(shop.context, success(item, "7"))
    drain(queues=["events"])
    assert ledger(shop.connection, "order/updated") == [
        {
            "order_id": str(item.order_id),
            "before": {"tracking_number": None, "status": "pending"},
            "after": {"tracking_number": "7", "status": "shipped"},
        }
    ]


@pytest.mark.parametrize("attempt", [0, 1, 7])
def test_a_late_result_changes_nothing(shop: Shop, attempt: int) -> None:
    """A second result, whatever it is and of whatever attempt."""
    job, (item, _) = submitted(shop, 2)
    update_job_item_result(shop.context, success(item))
    before = everything(shop.connection)
    for second in (success(item, "another", attempt=attempt), failure(item, attempt=attempt)):
        applied = update_job_item_result(shop.context, second)
        assert (applied.counted, applied.late, applied.follow) == (0, 1, [])
    assert everything(shop.connection) == before
    assert get_robot_job(shop.context, job.id).success_count == 1


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_result_of_another_attempt_is_late(shop: Shop, attempt: int) -> None:
    """Of an older and of a newer one."""
    job, (item, _) = submitted(shop, 2)
    update_job_item_result(shop.context, failure(item))
    retry_failed_items(shop.context, job.id)
    before = everything(shop.connection)
    applied = update_job_item_result(shop.context, success(item, attempt=attempt))
    assert (applied.counted, applied.late) == (0, 1)
    assert everything(shop.connection) == before
    assert update_job_item_result(shop.context, success(item, attempt=1)).counted == 1


def test_of_two_results_for_one_item_in_one_batch_the_first_counts(shop: Shop) -> None:
    """The second is late."""
    job, (item, _) = submitted(shop, 2)
    applied = update_job_item_results(shop.context, [success(item, "first"), failure(item), success(item, "third")])
    assert (applied.counted, applied.late) == (1, 2)
    after = get_robot_job(shop.context, job.id)
    assert (after.success_count, after.error_count) == (1, 0)
    assert items_of(shop, job.id)[0].tracking_number == "first"


def test_nothing_to_record_is_no_error(shop: Shop) -> None:
    """An empty batch changes nothing."""
    submitted(shop, 1)
    before = everything(shop.connection)
    assert update_job_item_results(shop.context, []).counted == 0
    assert everything(shop.connection) == before


def wrong(item: Any, changes: dict[str, UUID]) -> ItemCompleted:
    """Return a success that names another item or job."""
    return success(item).model_copy(update=changes)


@pytest.mark.parametrize(
    "what", ["an item of another workspace", "an item of another job", "an unknown item", "an unknown job"]
)
def test_a_result_for_a_foreign_item_is_refused_and_nothing_of_its_batch_recorded(
    shop: Shop, other: Shop, what: str
) -> None:
    """The error names the item."""
    _, (item, _) = submitted(shop, 2)
    _, (sibling,) = submitted(shop, 1)
    _, (foreign,) = submitted(other, 1)
    mismatched = {
        "an item of another workspace": success(foreign),
        "an item of another job": wrong(sibling, {"job_id": item.job_id}),
        "an unknown item": wrong(item, {"item_id": uuid4()}),
        "an unknown job": wrong(item, {"job_id": uuid4()}),
    }[what]
    before = everything(shop.connection)
    with pytest.raises(NotFound, match=f"{mismatched.item_id}; nothing was recorded"):
        update_job_item_results(shop.context, [success(item), mismatched])
    assert everything(shop.connection) == before


@pytest.mark.parametrize(("succeeded", "status"), [(0, "failed"), (1, "completed"), (3, "completed")])
def test_a_job_ends_with_its_last_result(shop: Shop, succeeded: int, status: str) -> None:
    """`completed`, or `failed` if no item succeeded; with one event."""
    job, items = submitted(shop, 3)
    for item in items[:-1]:
        update_job_item_result(shop.context, success(item) if item in items[:succeeded] else failure(item))
        assert get_robot_job(shop.context, job.id).completed_at is None
    last = update_job_item_result(shop.context, success(items[-1]) if succeeded == 3 else failure(items[-1]))
    done = get_robot_job(shop.context, job.id)
    assert (done.status, done.success_count, done.error_count) == (status, succeeded, 3 - succeeded)
    assert done.started_at is not None
    assert done.completed_at is not None
    (completed,) = [event for event in last.follow if event.type == "robot/job.completed"]
    assert completed.id == uuid5(job.id, "robot/job.completed/1")
    drain(queues=["events"])
    assert ledger(shop.connection, "robot/job.completed") == [
        {"job_id": str(job.id), "success_count": succeeded, "error_count": 3 - succeeded, "generation": 1}
    ]
    assert (
        scalar(shop.connection, "SELECT event_id FROM engine.event_log WHERE type = 'robot/job.completed'")
        == completed.id
    )
    assert broken(shop.connection) == []


def test_a_job_may_end_before_its_submission_is_delivered(shop: Shop) -> None:
    """Early results count, and the submission then requests nothing."""
    job, (item,) = submitted(shop, 1)
    update_job_item_result(shop.context, success(item))
    drain(queues=["events"])
    assert get_robot_job(shop.context, job.id).status == "completed"
    assert scalar(shop.connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_several_jobs_end_in_one_batch(shop: Shop) -> None:
    """Each with its own counters and event."""
    jobs = [submitted(shop, size) for size in (1, 2, 3)]
    results = [failure(item) if job is jobs[0][0] else success(item) for job, items in jobs for item in items]
    applied = update_job_item_results(shop.context, results[::-1])
    assert applied.counted == 6
    after = [get_robot_job(shop.context, job.id) for job, _ in jobs]
    assert [(job.status, job.success_count, job.error_count) for job in after] == [
        ("failed", 0, 1),
        ("completed", 2, 0),
        ("completed", 3, 0),
    ]
    assert len([event for event in applied.follow if event.type == "robot/job.completed"]) == 3
    assert broken(shop.connection) == []


class Counted(psycopg.Cursor[Any]):
    """A cursor that counts statements."""

    statements = 0

    def execute(self, *arguments: Any, **options: Any) -> Counted:
        """Count a statement and run it."""
        type(self).statements += 1
        return super().execute(*arguments, **options)


@pytest.fixture
def counted(database: Database, shop: Shop) -> Iterator[Context]:
    """A context of the shop whose statements are counted."""
    with doors.connect(database.url, autocommit=True) as connection:
        connection.cursor_factory = Counted
        yield Context.start(connection, shop.workspace_id)


def test_five_hundred_results_take_as_many_statements_as_five(shop: Shop, counted: Context) -> None:
    """Results are recorded set-based."""
    taken = []
    for size in (5, 500):
        job, items = submitted(shop, size)
        Counted.statements = 0
        applied = update_job_item_results(
            counted, [failure(i) if n % 10 == 0 else success(i) for n, i in enumerate(items)]
        )
        taken.append(Counted.statements)
        assert applied.counted == size
        after = get_robot_job(shop.context, job.id)
        assert (after.success_count, after.error_count) == (size - -(-size // 10), -(-size // 10))
    assert taken[0] == taken[1] < 15


def test_successful_results_ship_their_orders_in_the_same_transaction(shop: Shop) -> None:
    """The events that follow are returned, not published: an order that changed, and a job that completed."""
    job, (first, second) = submitted(shop, 2)
    results = [Result(shop.workspace_id, success(first, "T-1")), Result(shop.workspace_id, failure(second))]
    with shop.connection.transaction(force_rollback=True):
        applied = record(HandlerContext.begin(shop.connection), ROBOT_JOBS, results)
        assert (applied.counted, applied.late) == (2, 0)
        assert [event.type for event in applied.follow] == ["order/updated", "robot/job.completed"]
        order = get_orders(shop.context, [first.order_id])[0]
        assert (order.status, order.tracking_number) == ("shipped", "T-1")
        assert items_of(shop, job.id)[1].error_type == "portal"
    assert get_orders(shop.context, [first.order_id])[0].status == "pending"


def test_results_of_other_workspaces_are_refused(shop: Shop, other: Shop) -> None:
    """Nothing is recorded: `NotFound` for results without an event."""
    _, (item,) = submitted(shop, 1)
    with pytest.raises(NotFound), shop.connection.transaction():
        record(HandlerContext.begin(shop.connection), ROBOT_JOBS, [Result(other.workspace_id, success(item))])
    assert items_of(shop, item.job_id) == [item]
