"""Grace periods: how long the portal is not asked about a call, by the database's clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.context import Context
from app.engine.queue.publish import publish
from app.logistics import rules
from app.logistics.jobs import retry_failed_items
from app.logistics.store import RobotJobItem
from app.settings import settings
from app.simulators.portal import Portal
from events.robot import ErrorType
from tests.helpers.robot_results import failure, items_of, said, submitted, update_job_item_result
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar

_DELAY = """
SELECT coalesce(max(extract(epoch FROM due_at - now())), 0)::float FROM engine.delayed
"""
GRACE_PERIOD = 600


@pytest.fixture(autouse=True)
def _slow_portal(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", str(GRACE_PERIOD))
    settings.cache_clear()


def failed(shop: Shop, kind: ErrorType, *, skew: timedelta = timedelta()) -> RobotJobItem:
    """Record the failure of an item by a host whose clock is wrong by this number of hours."""
    _, (item,) = submitted(shop, 1)
    shop.connection.execute("DELETE FROM public.procrastinate_jobs; DELETE FROM engine.delayed")
    context = shop.context
    wrong = Context(context.connection, context.now + skew, context.tenant_id)
    update_job_item_result(wrong, failure(item, kind))
    shop.connection.execute("DELETE FROM public.procrastinate_jobs; DELETE FROM engine.delayed")
    return item


@pytest.mark.parametrize(
    ("kind", "waits"), [("portal", True), ("timeout", True), ("unknown", True), ("validation", False)]
)
def test_a_retry_waits_after_an_unclear_failure(shop: Shop, kind: ErrorType, *, waits: bool) -> None:
    """After `validation` nothing was called, so it does not wait."""
    item = failed(shop, kind)
    retry_failed_items(shop.context, item.job_id)
    delay = scalar(shop.connection, _DELAY)
    assert GRACE_PERIOD - 30 < delay <= GRACE_PERIOD if waits else delay == 0


@pytest.mark.parametrize("recorder", [-3600, 0, 3600])
@pytest.mark.parametrize("retrier", [-3600, 0, 3600])
def test_wrong_clocks_of_hosts_do_not_matter(shop: Shop, recorder: int, retrier: int) -> None:
    """Of the host that recorded the failure, and of the one that retries."""
    item = failed(shop, "timeout", skew=timedelta(seconds=recorder))
    context = shop.context
    skewed = Context(context.connection, context.now + timedelta(seconds=retrier), context.tenant_id)
    retry_failed_items(skewed, item.job_id)
    assert GRACE_PERIOD - 30 < scalar(shop.connection, _DELAY) <= GRACE_PERIOD


@pytest.mark.parametrize(("seconds", "waits"), [(GRACE_PERIOD - 60, True), (GRACE_PERIOD + 60, False)])
def test_the_grace_period_of_a_rescued_call_begins_with_the_rescue(
    shop: Shop, portal: Portal, seconds: int, *, waits: bool
) -> None:
    """The next attempt asks when it is over."""
    item = failed(shop, "validation")
    shop.connection.execute(
        "INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, 1, 0)", [rules.request_id(item.id, 0)]
    )
    shop.connection.execute(
        "INSERT INTO engine.rescues (row_id, queue_name, attempts, reason, at)"
        " VALUES (1, 'robots', 0, 'worker_gone', now() - %s * interval '1 second')",
        [seconds],
    )
    retry_failed_items(shop.context, item.job_id)
    drain()
    assert items_of(shop, item.job_id)[0].status == ("pending" if waits else "success")
    assert portal.record.summary().accepted == (0 if waits else 1)


def test_times_of_items_are_the_databases(shop: Shop) -> None:
    """Also of a result that a host with a wrong clock records."""
    _, (item,) = submitted(shop, 1)
    publish(shop.connection, said(shop, failure(item)))
    drain(queues=["events"])
    context = shop.context
    late = Context(context.connection, context.now - timedelta(days=1), context.tenant_id)
    retry_failed_items(late, item.job_id)
    age = "SELECT extract(epoch FROM now() - last_retry_at)::float FROM logistics.robot_job_items"
    assert abs(scalar(shop.connection, age)) < 60
