"""The robot: each order is entered at most once, and what happens becomes a result."""

from __future__ import annotations

from app.logistics import jobs
from app.simulators.portal import Portal
from tests.logistics.conftest import Shop
from tests.support import drain_all, scalar, waiting


def test_a_job_goes_from_orders_to_tracking_numbers(shop: Shop, portal: Portal) -> None:
    """Submit, work, count: every order has its number, the job is completed once."""
    order_ids = shop.order(40)
    job = jobs.create_robot_job(shop.context, order_ids)
    drain_all(shop.connection)
    page = jobs.get_job_with_items(shop.context, job.id)
    assert (page.job.status, page.job.success_count, page.job.error_count) == ("completed", 40, 0)
    assert {item.status for item in page.items} == {"success"}
    assert portal.record.summary().accepted == 40
    assert portal.record.duplicates == []
    assert scalar(shop.connection, "SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed'") == 1
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.orders WHERE tracking_number IS NOT NULL") == 40
    assert waiting(shop.connection) == 0
