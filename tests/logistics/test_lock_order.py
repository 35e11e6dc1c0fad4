"""Lock order: jobs by id, then items by id. A transaction that waits for a job holds no later lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from app import database as doors
from app.context import Context
from events.robot import ItemCompleted
from tests.conftest import Database
from tests.helpers.robot_results import submitted, success, update_job_item_results
from tests.helpers.shops import Shop
from tests.helpers.waits import LIMIT_S, until_somebody_waits

_LOCK_JOB = "SELECT FROM logistics.robot_jobs WHERE id = %s FOR UPDATE"
_LOCK_OTHERS = "SELECT FROM logistics.robot_jobs WHERE id <> %s FOR UPDATE NOWAIT"
_LOCK_ITEMS = "SELECT FROM logistics.robot_job_items FOR UPDATE NOWAIT"
_LOCK_ORDERS = "SELECT FROM logistics.orders FOR UPDATE NOWAIT"


def test_a_recorder_that_waits_for_the_first_job_holds_nothing(database: Database, shop: Shop) -> None:
    """Results of three jobs, the first locked: the other jobs, all items and orders are free."""
    answers = [success(item) for _ in range(3) for item in submitted(shop, 2)[1]]
    first = min(answer.job_id for answer in answers)

    def record(results: list[ItemCompleted]) -> int:
        with doors.connect(database.url) as connection:
            return update_job_item_results(Context.start(connection, shop.workspace_id), results).counted

    with doors.connect(database.url) as holder, ThreadPoolExecutor(1) as threads:
        holder.execute(_LOCK_JOB, [first])
        recorded = threads.submit(record, answers[::-1])
        until_somebody_waits(shop.connection)
        with shop.connection.transaction():
            assert shop.connection.execute(_LOCK_OTHERS, [first]).rowcount == 2
            assert shop.connection.execute(_LOCK_ITEMS).rowcount == 6
            assert shop.connection.execute(_LOCK_ORDERS).rowcount == 6
        holder.rollback()
        assert recorded.result(LIMIT_S) == 6
