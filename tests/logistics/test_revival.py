"""Revival of dead requests: only if the item waits for that attempt, or failed at it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

import events
from app.engine.batches import forecasts
from app.engine.batches.retry import revive
from app.logistics.jobs import get_robot_job, retry_failed_items
from app.logistics.store import ROBOT_JOBS, RobotJobItem
from events import Event, new_id
from events.robot import ItemRequested
from tests.helpers.robot_results import (
    broken,
    everything,
    failure,
    items_of,
    submitted,
    success,
    update_job_item_result,
)
from tests.helpers.shops import Shop


def request(shop: Shop, item: RobotJobItem, tenant: UUID | None = None, **fields: Any) -> Event[ItemRequested]:
    """Return the dead request of an item's first attempt."""
    asked = {"job_id": item.job_id, "item_id": item.id, "order_id": item.order_id, "carrier": "coordinadora"}
    payload = ItemRequested(**{**asked, "attempt": 0, **fields})
    return events.new(payload, now=shop.context.now, subject=item.job_id, tenant=tenant or shop.workspace_id)


def is_not_revived(shop: Shop, dead: Event[ItemRequested]) -> None:
    """Assert that a revival changes nothing, and that a plan shows the request as overtaken."""
    before = everything(shop.connection)
    assert (forecasts.requests(shop.connection, ROBOT_JOBS, [dead])[dead.id].idle or "").startswith("overtaken")
    assert revive(shop.context, ROBOT_JOBS, [dead]) == {}
    assert everything(shop.connection) == before
    assert broken(shop.connection) == []


def test_a_request_whose_item_has_succeeded_is_not_revived(shop: Shop) -> None:
    """It would ship the order twice."""
    job, (item,) = submitted(shop, 1)
    update_job_item_result(shop.context, success(item))
    is_not_revived(shop, request(shop, item))
    assert (get_robot_job(shop.context, job.id).status, items_of(shop, job.id)[0].status) == ("completed", "success")


def test_a_request_of_an_earlier_attempt_is_not_revived(shop: Shop) -> None:
    """The item waits for a later one."""
    job, (item,) = submitted(shop, 1)
    update_job_item_result(shop.context, failure(item))
    retry_failed_items(shop.context, job.id)
    is_not_revived(shop, request(shop, item))


@pytest.mark.parametrize("field", ["job_id", "item_id", "order_id", "tenant"])
def test_a_request_that_does_not_fit_its_item_is_not_revived(shop: Shop, field: str) -> None:
    """Another job, item, order or workspace."""
    _, (item,) = submitted(shop, 1)
    is_not_revived(shop, request(shop, item, **{field: new_id()}))


def test_a_request_whose_item_failed_is_revived_as_the_next_attempt(shop: Shop) -> None:
    """The job begins its next generation."""
    job, (item,) = submitted(shop, 1)
    update_job_item_result(shop.context, failure(item))
    dead = request(shop, item)
    with shop.connection.transaction():
        (asked,) = revive(shop.context, ROBOT_JOBS, [dead]).values()
    after = get_robot_job(shop.context, job.id)
    assert (asked.data.attempt, after.status, after.generation, after.error_count) == (1, "processing", 2, 0)
    assert (items_of(shop, job.id)[0].status, items_of(shop, job.id)[0].retry_count) == ("pending", 1)
