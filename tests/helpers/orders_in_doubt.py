"""Orders in doubt: the portal may have them."""

from __future__ import annotations

from app.logistics import jobs
from app.logistics.store import RobotJobItem
from app.program import WIRING
from app.testing.faults import Fault
from tests.conftest import Database
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.robot_results import items_of
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar


def in_doubt(database: Database, shop: Shop) -> RobotJobItem:
    """Return an item whose order the portal has, whose worker crashed in the call, and whose request is dead."""
    job = jobs.create_robot_job(shop.context, shop.order(1))
    drain(queues=["events"])
    die_in_a_call(database, shop.connection, WIRING, Fault.DIES_AFTER)
    rescued(shop.connection, most_rescues=0)
    (item,) = items_of(shop, job.id)
    assert scalar(shop.connection, "SELECT error_class FROM engine.failed_jobs") == "KilledItsWorkers"
    return item
