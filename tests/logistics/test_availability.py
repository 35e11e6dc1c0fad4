"""Which orders a job may take: those that no other job has, also if two submits overlap."""

from __future__ import annotations

from uuid import UUID

import pytest

import events
from app import database as doors
from app.errors import Conflict, DuplicateRequest, KeyReused
from app.logistics import availability, carriers
from app.logistics.availability import LockedOrders
from app.logistics.jobs import AlreadyTaken, CancelledOrders, create_robot_job
from app.logistics.order_changes import update_order
from app.logistics.store import RobotJob
from app.logistics.submit import submit_orders, submit_pending
from events import Event, new_id
from events.robot import ItemRequested
from tests.conftest import Database
from tests.helpers.robot_results import failure, items_of, success, update_job_item_result, update_job_item_results
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar


def orders_of(shop: Shop, job: RobotJob | None) -> list[UUID]:
    """Return the orders of a job's items."""
    assert job is not None
    return [item.order_id for item in items_of(shop, job.id)]


def begin(shop: Shop) -> None:
    """Set all items to processing, as a delivery does before its first call."""
    shop.connection.execute("UPDATE logistics.robot_job_items SET status = 'processing', started_at = now()")


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_an_order_in_an_open_job_is_refused_without_again(shop: Shop, status: str) -> None:
    """Whether its item is pending or processing."""
    orders = shop.order(2)
    create_robot_job(shop.context, orders[:1])
    drain(queues=["events"])
    if status == "processing":
        begin(shop)
    with pytest.raises(AlreadyTaken) as refused:
        create_robot_job(shop.context, orders, again=False)
    assert refused.value.order_ids == (orders[0],)


def test_a_submit_counts_the_orders_that_it_ships_again(shop: Shop) -> None:
    """Orders that are shipped or in another open job count once each. Failed orders do not."""
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
    """All of them are named, and nothing is created, with and without `again`."""
    orders = shop.order(4)
    for order_id in orders[1:3]:
        update_order(shop.context, order_id, status="cancelled")
    with pytest.raises(CancelledOrders, match="2 of them are cancelled") as refused:
        create_robot_job(shop.context, orders)
    assert refused.value.order_ids == tuple(orders[1:3])
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.robot_jobs") == 0


def test_a_second_submit_of_pending_orders_takes_the_new_ones(shop: Shop) -> None:
    """It counts, by job, those of the first."""
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


def test_pending_orders_are_neither_shipped_nor_cancelled_nor_in_an_open_job(shop: Shop, other: Shop) -> None:
    """An order whose item failed is pending again. Orders of other workspaces do not count."""
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


def test_a_bad_carrier_is_refused_without_pending_orders(shop: Shop) -> None:
    """A wrong cron line is noticed early."""
    carriers.disable_carrier(shop.context, "coordinadora")
    with pytest.raises(Conflict, match="coordinadora is disabled"):
        submit_pending(shop.context)


def test_a_key_makes_one_job_of_the_pending_orders(shop: Shop) -> None:
    """A repetition names the job. With new orders it is another request."""
    shop.order(1)
    job = submit_pending(shop.context, idempotency_key="K").job
    assert job is not None
    with pytest.raises(DuplicateRequest) as repeated:
        submit_pending(shop.context, idempotency_key="K")
    shop.order(1)
    with pytest.raises(KeyReused) as refused:
        submit_pending(shop.context, idempotency_key="K")
    assert (repeated.value.job_id, refused.value.job_id) == (job.id, job.id)


def test_locked_orders_are_the_workspaces_own(database: Database, shop: Shop, other: Shop) -> None:
    """Cancelled ones are named. They stay locked until the transaction ends."""
    orders, foreign = shop.order(3), other.order(1)
    update_order(shop.context, orders[1], status="cancelled")
    free = "SELECT id FROM logistics.orders ORDER BY id FOR UPDATE SKIP LOCKED"
    with doors.connect(database.url, autocommit=True) as session:
        with shop.connection.transaction():
            found = availability.lock_orders(shop.context, [*orders[:2], *foreign, new_id()])
            assert found == LockedOrders(2, [orders[1]])
            assert {row for (row,) in session.execute(free)} == {orders[2], *foreign}
        assert len(session.execute(free).fetchall()) == 4


def test_free_orders_are_pending_and_in_no_open_job(shop: Shop, other: Shop) -> None:
    """Oldest first, of the workspace only."""
    orders = shop.order(5)
    other.order(1)
    create_robot_job(shop.context, orders[1:3])
    update_order(shop.context, orders[4], status="cancelled")
    with shop.connection.transaction():
        assert availability.lock_free_orders(shop.context, "coordinadora") == [orders[0], orders[3]]
    assert availability.count_in_doubt(shop.context, "coordinadora") == 0
    (job_id,) = availability.open_jobs(shop.context, orders)
    assert availability.open_jobs(shop.context, [orders[1], orders[0]]) == {job_id: 1}
    assert availability.pending_in_open_jobs(shop.context) == {job_id: 2}
    assert availability.taken_orders(shop.context, orders) == list(orders[1:3])
    assert availability.missing_orders(shop.context, [orders[0], missing := new_id()]) == [missing]
    assert availability.missing_orders(other.context, orders[:1]) == list(orders[:1])


def test_an_order_may_be_in_doubt_at_another_carrier_only(shop: Shop) -> None:
    """Then it is not free for the others, and is counted for them."""
    orders = shop.order(2)
    job = create_robot_job(shop.context, orders[:1])
    (item,) = items_of(shop, job.id)
    drain(queues=["events"])
    update_job_item_result(shop.context, failure(item, "timeout"))
    with shop.connection.transaction():
        assert availability.lock_free_orders(shop.context, "servientrega") == [orders[1]]
        assert availability.lock_free_orders(shop.context, "coordinadora") == list(orders)
    assert availability.count_in_doubt(shop.context, "servientrega") == 1
    assert availability.count_in_doubt(shop.context, "coordinadora") == 0


def test_obstacles_of_requests_are_the_account_and_a_cancelled_order(shop: Shop) -> None:
    """By event id; a request that could be entered has none."""
    orders = shop.order(2)
    update_order(shop.context, orders[1], status="cancelled")

    def request(order_id: UUID, tenant: UUID | None) -> Event[ItemRequested]:
        data = ItemRequested(job_id=new_id(), item_id=new_id(), order_id=order_id, attempt=0, carrier="coordinadora")
        return events.new(data, now=shop.context.now, subject=data.job_id, tenant=tenant)

    good, cancelled, nobodys = (
        request(orders[0], shop.workspace_id),
        request(orders[1], shop.workspace_id),
        request(orders[0], None),
    )
    found = availability.obstacles(shop.connection, [good, cancelled, nobodys])
    assert found == {
        cancelled.id: f"order {orders[1]} is cancelled: it would not be entered",
        nobodys.id: "carrier coordinadora is disabled or has no credentials",
    }
    carriers.disable_carrier(shop.context, "coordinadora")
    assert set(availability.obstacles(shop.connection, [good])) == {good.id}
