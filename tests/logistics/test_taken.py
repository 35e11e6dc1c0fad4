"""Which orders a submit takes: not those that another job has, however close the two come."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.errors import Conflict, DuplicateRequest, KeyReused
from app.logistics import carriers
from app.logistics.jobs import AlreadyTaken, CancelledOrders, create_robot_job
from app.logistics.orders import update_order
from app.logistics.store import RobotJob
from app.logistics.submit import submit_orders, submit_pending
from tests.helpers.robot_results import failure, items_of, success, update_job_item_results
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar


def orders_of(shop: Shop, job: RobotJob | None) -> list[UUID]:
    """The orders of a job's items."""
    assert job is not None
    return [item.order_id for item in items_of(shop, job.id)]


def begin(shop: Shop) -> None:
    """Let a robot begin every item that was requested, as a delivery does before its first call."""
    shop.connection.execute("UPDATE logistics.robot_job_items SET status = 'processing', started_at = now()")


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_an_order_that_an_open_item_has_is_refused_without_again(shop: Shop, status: str) -> None:
    """Whether a robot has begun the item makes no difference."""
    orders = shop.order(2)
    create_robot_job(shop.context, orders[:1])
    drain(queues=["events"])
    if status == "processing":
        begin(shop)
    with pytest.raises(AlreadyTaken) as refused:
        create_robot_job(shop.context, orders, again=False)
    assert refused.value.order_ids == (orders[0],)


def test_a_submit_counts_the_orders_that_it_ships_again(shop: Shop) -> None:
    """Orders that are shipped or in another open job count once each. Orders that failed elsewhere do not."""
    open_, twice, shipped, failed, new = shop.order(5)
    create_robot_job(shop.context, [open_, twice])
    create_robot_job(shop.context, [twice])
    ended = create_robot_job(shop.context, [shipped, failed])
    drain(queues=["events"])
    items = items_of(shop, ended.id)
    update_job_item_results(
        shop.context, [success(item) if item.order_id == shipped else failure(item) for item in items]
    )
    done = submit_orders(shop.context, [open_, twice, shipped, failed, new])
    assert (done.repeated, done.job.total_items) == (3, 5)
    assert submit_orders(shop.context, shop.order(2)).repeated == 0


def test_cancelled_orders_are_refused_by_name(shop: Shop) -> None:
    """All of them are named, and nothing is created; --again makes no difference."""
    orders = shop.order(4)
    for order_id in orders[1:3]:
        update_order(shop.context, order_id, status="cancelled")
    with pytest.raises(CancelledOrders, match="2 of them are cancelled") as refused:
        create_robot_job(shop.context, orders)
    assert refused.value.order_ids == tuple(orders[1:3])
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.robot_jobs") == 0


# Pending orders ------------------------------------------------------------------------------------


def test_the_second_submit_of_what_is_pending_takes_what_is_new(shop: Shop) -> None:
    """And counts, by job, what the first has."""
    first = submit_pending(shop.context)
    assert (first.job, first.in_open_jobs) == (None, {})
    old = shop.order(3)
    first = submit_pending(shop.context)
    assert sorted(orders_of(shop, first.job)) == sorted(old)
    new = shop.order(2)
    second = submit_pending(shop.context)
    assert first.job is not None
    assert (sorted(orders_of(shop, second.job)), second.in_open_jobs) == (sorted(new), {first.job.id: 3})
    third = submit_pending(shop.context)
    assert second.job is not None
    assert (third.job, third.in_open_jobs) == (None, {first.job.id: 3, second.job.id: 2})


def test_pending_is_what_is_neither_shipped_nor_cancelled_nor_in_an_open_job(shop: Shop, other: Shop) -> None:
    """An order whose item failed is pending again; another workspace's orders are its own."""
    free, cancelled, shipped, failed, waiting, begun = shop.order(6)
    other.order(2)
    update_order(shop.context, cancelled, status="cancelled")
    done = create_robot_job(shop.context, [shipped, failed])
    one, two = items_of(shop, done.id)
    update_job_item_results(shop.context, [success(one), failure(two, "validation")])
    create_robot_job(shop.context, [begun])
    begin_item = "UPDATE logistics.robot_job_items SET status = 'processing', started_at = now() WHERE order_id = %s"
    shop.connection.execute(begin_item, [begun])
    create_robot_job(shop.context, [waiting])
    assert orders_of(shop, submit_pending(shop.context).job) == [free, failed]


def test_a_carrier_that_cannot_be_used_is_refused_also_when_nothing_is_pending(shop: Shop) -> None:
    """A wrong cron line is noticed before there are orders."""
    carriers.disable_carrier(shop.context, "coordinadora")
    with pytest.raises(Conflict, match="coordinadora is disabled"):
        submit_pending(shop.context)


def test_a_key_makes_one_job_of_what_is_pending(shop: Shop) -> None:
    """Repeated it is told of the job; with orders that are new it is another request."""
    shop.order(1)
    job = submit_pending(shop.context, idempotency_key="K").job
    assert job is not None
    with pytest.raises(DuplicateRequest) as repeated:
        submit_pending(shop.context, idempotency_key="K")
    shop.order(1)
    with pytest.raises(KeyReused) as refused:
        submit_pending(shop.context, idempotency_key="K")
    assert (repeated.value.job_id, refused.value.job_id) == (job.id, job.id)
