"""Recheck whether an order must still be entered, right before each call."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app import database as doors
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.queue import pauses
from app.logistics import carriers, jobs
from app.logistics.carriers import PortalConfig
from app.logistics.order_changes import update_order
from app.logistics.orders import get_orders
from app.logistics.wanted import ORDER_CANCELLED, AccountChanged, Now, Unwanted, check
from app.simulators.portal import Portal, Rule, serve
from events import new_id
from tests.conftest import Database
from tests.helpers.robot_results import broken, items_of
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar, working
from tests.helpers.waits import until
from tests.helpers.workers import worker_pool

pytestmark = pytest.mark.usefixtures("hasty")

ORDERS = 20
_IN_HAND = "SELECT count(*) FROM public.procrastinate_jobs WHERE status = 'doing'"


def disable(shop: Shop) -> None:
    """Disable the carrier."""
    carriers.disable_carrier(shop.context, "coordinadora")


def pause(shop: Shop) -> None:
    """Pause the robots' queue."""
    pauses.pause(shop.connection, "robots", actor="ana", reason="the portal asked for it")


@pytest.mark.parametrize("stop", [disable, pause])
def test_no_call_begins_after_it_was_forbidden(
    database: Database, shop: Shop, portal: Portal, tmp_path: Path, stop: Callable[[Shop], None]
) -> None:
    """One call may have passed its check before. No further order of the batch is entered."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=1)
    portal.change(latency_ms=50)
    job = jobs.create_robot_job(shop.context, shop.order(ORDERS))
    with worker_pool(tmp_path) as workers, doors.connect(database.url, autocommit=True) as listener:
        worker = workers.work()
        until(listener, lambda: portal.record.summary().accepted)
        stop(shop)
        entered = portal.record.summary().accepted
        if stop is pause:
            until(listener, lambda: scalar(shop.connection, _IN_HAND) == 0)
        else:
            until(listener, lambda: jobs.get_robot_job(shop.context, job.id).completed_at)
        assert worker.stop() == 0  # a killed one could leave a row in delivery
    assert portal.record.summary().accepted <= entered + 2 < ORDERS
    if stop is pause:
        pauses.resume(shop.connection, "robots", actor="ana")
        drain_all(shop.connection)
        assert portal.record.summary().accepted == ORDERS
        assert {item.retry_count for item in items_of(shop, job.id)} == {0}
    else:
        failed = [item for item in items_of(shop, job.id) if item.status == "error"]
        assert len(failed) == ORDERS - portal.record.summary().accepted
        assert {(item.error_type, "is disabled" in (item.error_message or "")) for item in failed} == {
            ("validation", True)
        }
    assert broken(shop.connection) == []


def test_the_new_address_counts_from_the_next_call_on(database: Database, shop: Shop, portal: Portal) -> None:
    """The account is moved to another portal during a batch. The old one gets no further order."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=1)
    portal.change(latency_ms=50)
    jobs.create_robot_job(shop.context, shop.order(ORDERS))
    with serve() as moved:
        with working(database.url), doors.connect(database.url, autocommit=True) as listener:
            until(listener, lambda: portal.record.summary().accepted)
            carriers.set_carrier(
                shop.context,
                "coordinadora",
                username="demo",
                password=SecretStr("demo-password"),
                portal_url=moved.url,
            )
            entered = portal.record.summary().accepted
            until(listener, lambda: portal.record.summary().accepted + moved.record.summary().accepted == ORDERS)
        assert portal.record.summary().accepted <= entered + 2 < ORDERS
    assert broken(shop.connection) == []


def cancel(shop: Shop, order_id: Any) -> None:
    """Cancel an order."""
    update_order(shop.context, order_id, status="cancelled")


def test_an_order_that_is_cancelled_after_the_submit_is_not_entered(shop: Shop, portal: Portal) -> None:
    """Its item fails as cancelled, the others ship, and the order stays cancelled."""
    first, second = shop.order(2)
    job = jobs.create_robot_job(shop.context, [first, second])
    cancel(shop, first)
    drain_all(shop.connection)
    assert portal.record.summary().accepted == 1
    by_order = {item.order_id: item for item in items_of(shop, job.id)}
    assert (by_order[first].status, by_order[first].error_type) == ("error", "validation")
    assert "cancelled" in (by_order[first].error_message or "")
    assert by_order[second].status == "success"
    assert [order.status for order in get_orders(shop.context, [first, second])] == ["cancelled", "shipped"]
    assert broken(shop.connection) == []


def test_a_retry_does_not_enter_an_order_that_was_cancelled_meanwhile(shop: Shop, portal: Portal) -> None:
    """The item fails as cancelled."""
    (order_id,) = shop.order(1, address="Vereda El Salado")
    portal.change(rules=[Rule(field="address", contains="Vereda", then="refuse", message="no route")])
    job = jobs.create_robot_job(shop.context, [order_id])
    drain_all(shop.connection)
    cancel(shop, order_id)
    portal.change(rules=[])
    assert jobs.retry_failed_items(shop.context, job.id).items == 1
    drain_all(shop.connection)
    assert portal.record.summary().accepted == 0
    (item,) = items_of(shop, job.id)
    assert (item.status, item.retry_count, "cancelled" in (item.error_message or "")) == ("error", 1, True)
    assert get_orders(shop.context, [order_id])[0].status == "cancelled"


def test_an_order_that_the_carrier_has_by_then_keeps_its_number_and_stays_cancelled(shop: Shop, portal: Portal) -> None:
    """The answer was lost, then the order was cancelled: the portal's entry is recorded."""
    (order_id,) = shop.order(1, address="Torre 7")
    portal.change(rules=[Rule(field="address", contains="Torre", then="lost", times=1)])
    job = jobs.create_robot_job(shop.context, [order_id])
    drain()
    assert portal.record.summary().accepted == 1
    cancel(shop, order_id)
    drain_all(shop.connection)
    (item,) = items_of(shop, job.id)
    assert item.status == "success"
    order = get_orders(shop.context, [order_id])[0]
    assert (order.status, order.tracking_number) == ("cancelled", item.tracking_number)
    assert portal.record.summary().accepted == 1


def test_a_plan_blocks_the_request_of_a_cancelled_order(shop: Shop, portal: Portal) -> None:
    """A replay would not enter it."""
    (order_id,) = shop.order(1)
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = 'sealed:v1:lost:AAAA'")
    jobs.create_robot_job(shop.context, [order_id])
    drain_all(shop.connection)
    assert scalar(shop.connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 1
    cancel(shop, order_id)
    plan = plans.make(shop.connection, Filters(), actor="ana")
    ((kind, detail),) = [(one.class_, one.detail or "") for one in plans.letters(shop.connection, plan.id)]
    assert (kind, "cancelled" in detail) == ("blocked", True)


def now(config: PortalConfig, **fields: Any) -> Now:
    """Return the state of an order that must be entered, with these differences."""
    same: dict[str, Any] = {name: getattr(config, name) for name in PortalConfig.__dataclass_fields__}
    state: dict[str, Any] = {"event_id": new_id(), "is_awaited": True, "order_status": "pending"}
    return Now(**{**same, **state, "cancelled_by": None, "cancel_reason": None, **fields})


CONFIG = PortalConfig(new_id(), new_id(), "dhl", "bot", "sealed:x", "https://portal.example", 1, is_enabled=True)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"is_awaited": False}, "not waiting for this attempt"),
        ({"cancelled_by": "ana", "cancel_reason": "typo"}, "cancelled by ana: typo"),
        ({"order_status": "cancelled"}, ORDER_CANCELLED),
        ({"is_enabled": False}, "carrier dhl is disabled or has no credentials"),
        ({"portal_password": None}, "carrier dhl is disabled or has no credentials"),
        ({"id": None}, "carrier dhl is disabled or has no credentials"),
    ],
)
def test_each_change_since_the_claim_forbids_the_call(fields: dict[str, Any], why: str) -> None:
    """The error has the reason. Deleted rows forbid it too."""
    check(now(CONFIG), CONFIG)
    with pytest.raises(Unwanted, match=re.escape(why)):
        check(now(CONFIG, **fields), CONFIG)
    with pytest.raises(Unwanted, match="not waiting for this attempt"):
        check(None, CONFIG)


@pytest.mark.parametrize("field", ["portal_username", "portal_password", "portal_url"])
def test_a_changed_login_is_used_from_then_on(field: str) -> None:
    """The error has the current account. Another number of sessions is no change of the login."""
    check(now(CONFIG, max_sessions=9), CONFIG)
    with pytest.raises(AccountChanged) as changed:
        check(now(CONFIG, **{field: "other"}), CONFIG)
    assert getattr(changed.value.config, field) == "other"
