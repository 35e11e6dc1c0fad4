"""Cancelled orders are not entered; an order that the carrier has all the same gets its tracking number."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from psycopg.rows import scalar_row
from pydantic import SecretStr

from app import database as doors
from app.logistics import carriers, jobs
from app.logistics.cancel import AlreadyShipped, cancel_orders
from app.logistics.order_changes import update_order
from app.logistics.orders import get_orders
from app.logistics.store import RobotJobItem
from app.simulators.portal import Portal, Rule
from tests.conftest import Database
from tests.helpers.operators import work_once
from tests.helpers.robot_results import broken, items_of, ledger
from tests.helpers.shops import Shop
from tests.helpers.support import deliver, drain_all
from tests.helpers.waits import LIMIT_S, until

pytestmark = pytest.mark.usefixtures("hasty")

ORDERS = 12


def test_orders_that_are_cancelled_are_not_entered(database: Database, shop: Shop, portal: Portal) -> None:
    """Also of a batch in progress. A call that has begun is finished."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=1)
    portal.change(latency_ms=100)
    job = jobs.create_robot_job(shop.context, shop.order(ORDERS))
    deliver(shop.connection, queues=["events"])
    with ThreadPoolExecutor(1) as threads, doors.connect(database.url, autocommit=True) as listener:
        worker = threads.submit(work_once, queues=["robots"])
        until(listener, lambda: portal.record.entries)
        pending = "SELECT id FROM logistics.orders WHERE status = 'pending'"
        cancel_orders(shop.context, shop.connection.cursor(row_factory=scalar_row).execute(pending).fetchall())
        entered = len(portal.record.entries)
        worker.result(LIMIT_S)
    drain_all(shop.connection)
    assert len(portal.record.entries) <= entered + 1 < ORDERS
    failed = [item for item in items_of(shop, job.id) if item.status == "error"]
    assert {(item.error_type, item.error_message) for item in failed} == {
        ("validation", "the order is cancelled; it was not entered")
    }
    assert {order.status for order in get_orders(shop.context, [item.order_id for item in failed])} == {"cancelled"}
    assert broken(shop.connection) == []


def test_a_login_that_is_changed_is_used_from_the_next_call_on(database: Database, shop: Shop, portal: Portal) -> None:
    """No further order is entered under the old login, although its session is valid, and none is lost."""
    portal.change(accounts={"demo": "demo-password", "second": "2nd"})
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=1)
    portal.change(latency_ms=100)
    jobs.create_robot_job(shop.context, shop.order(ORDERS))
    deliver(shop.connection, queues=["events"])
    with ThreadPoolExecutor(1) as threads, doors.connect(database.url, autocommit=True) as listener:
        worker = threads.submit(work_once, queues=["robots"])
        until(listener, lambda: portal.record.entries)
        carriers.set_carrier(shop.context, "coordinadora", username="second", password=SecretStr("2nd"))
        entered = len(portal.record.entries)
        worker.result(LIMIT_S)
    drain_all(shop.connection)
    accounts = [entry.account for entry in portal.record.entries]
    assert entered < ORDERS
    assert set(accounts[entered + 1 :]) == {"second"}
    assert (len(accounts), portal.record.duplicates) == (ORDERS, [])


def only(shop: Shop, job_id: UUID) -> RobotJobItem:
    """Return the only item of a job, when no event waits any more."""
    drain_all(shop.connection)
    assert broken(shop.connection) == []
    (item,) = items_of(shop, job_id)
    return item


def test_an_order_that_is_cancelled_after_the_submit_is_no_call(shop: Shop, portal: Portal) -> None:
    """There is not even a login, also when the item is retried."""
    (order_id,) = shop.order(1)
    job = jobs.create_robot_job(shop.context, [order_id])
    cancel_orders(shop.context, [order_id])
    for attempt in (0, 1):
        item = only(shop, job.id)
        assert (item.status, item.error_type, item.retry_count) == ("error", "validation", attempt)
        assert "the order is cancelled" in (item.error_message or "")
        assert portal.record.entries == []
        assert attempt or portal.record.logins == 0
        jobs.retry_failed_items(shop.context, job.id)
    drain_all(shop.connection)
    assert get_orders(shop.context, [order_id])[0].status == "cancelled"


def test_a_retry_of_a_cancelled_order_finds_what_an_earlier_attempt_entered(shop: Shop, portal: Portal) -> None:
    """The carrier has it, so that is recorded."""
    (order_id,) = shop.order(1)
    portal.change(rules=(Rule(field="address", contains="Calle", then="garble"),))
    job = jobs.create_robot_job(shop.context, [order_id])
    assert only(shop, job.id).error_type == "unknown"
    cancel_orders(shop.context, [order_id])
    jobs.retry_failed_items(shop.context, job.id)
    assert only(shop, job.id).status == "success"
    assert get_orders(shop.context, [order_id])[0].status == "cancelled"


def test_a_shipped_order_cannot_be_cancelled_and_all_are_named(shop: Shop) -> None:
    """Nothing is cancelled."""
    first, second, third = shop.order(3)
    for order_id in (first, third):
        update_order(shop.context, order_id, status="shipped")
    with pytest.raises(AlreadyShipped) as refused:
        cancel_orders(shop.context, [first, second, third])
    assert refused.value.order_ids == (first, third)
    assert get_orders(shop.context, [second])[0].status == "pending"


def test_a_cancel_counts_the_open_items_by_job(shop: Shop) -> None:
    """One event for each order that changed. A second cancel changes nothing."""
    orders = shop.order(3)
    job = jobs.create_robot_job(shop.context, orders[:2])
    done = cancel_orders(shop.context, orders)
    assert (done.changed, done.in_open_jobs) == (3, {job.id: 2})
    assert cancel_orders(shop.context, orders).changed == 0
    drain_all(shop.connection)
    assert len(ledger(shop.connection, "order/updated")) == 3


def test_a_person_can_set_a_cancelled_order_to_shipped(shop: Shop) -> None:
    """A robot's result leaves it cancelled."""
    (order_id,) = shop.order(1)
    cancel_orders(shop.context, [order_id])
    assert update_order(shop.context, order_id, status="shipped").status == "shipped"
