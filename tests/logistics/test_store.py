"""Robot jobs and their items: rows, and the declaration of their batch."""

from __future__ import annotations

from dataclasses import fields

from app.engine.batches.store import items_by_id
from app.logistics.store import ROBOT_JOBS, RobotJob, RobotJobItem, insert_items
from app.settings import using
from events import new_id
from tests.helpers.robot_results import submitted
from tests.helpers.shops import Shop
from tests.helpers.support import scalar


def test_an_item_is_inserted_for_each_order(shop: Shop) -> None:
    """In pairs of ids; an item has its order's reference."""
    job, _ = submitted(shop, 1)
    orders, items = shop.order(2), [new_id(), new_id()]
    with shop.connection.transaction(force_rollback=True):
        insert_items(shop.connection, job.id, items, orders)
        found = items_by_id(shop.connection, ROBOT_JOBS, items)
        assert [found[item].order_id for item in items] == list(orders)
        assert [found[item].order_reference for item in items] == ["00001", "00002"]
        assert {(item.status, item.retry_count, item.job_id) for item in found.values()} == {("pending", 0, job.id)}


def test_the_rows_have_the_columns_that_are_read(shop: Shop) -> None:
    """Except the derived reference of the order, each field is a column."""
    columns = "SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
    for table, row in (("logistics.robot_jobs", RobotJob), ("logistics.robot_job_items", RobotJobItem)):
        known = set(scalar(shop.connection, columns, table))
        assert {field.name for field in fields(row)} - known <= {"order_reference"}


def test_the_grace_period_is_a_setting() -> None:
    """Read when it is needed."""
    with using(portal_settle=77.0):
        assert ROBOT_JOBS.grace_period() == 77.0
