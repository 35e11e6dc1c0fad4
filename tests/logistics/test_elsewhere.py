"""Orders in doubt at one carrier are not entered at another one until the doubt is resolved."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from pydantic import SecretStr

from app.logistics import carriers, coverage, elsewhere, jobs, rules
from app.logistics.coverage import CoverageRow
from app.logistics.jobs import InDoubtElsewhere, create_robot_job, record_item
from app.logistics.store import RobotJob
from app.logistics.submit import submit_pending
from app.settings import settings
from app.simulators.portal import Portal, Rule
from tests.conftest import Database
from tests.helpers.orders_in_doubt import in_doubt
from tests.helpers.robot_results import broken, failure, items_of, update_job_item_result
from tests.helpers.shops import Shop
from tests.helpers.support import deliver, drain_all, scalar

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def two_carriers(shop: Shop, portal: Portal) -> Shop:
    """A shop with accounts at two carriers, in one portal."""
    context = shop.context
    carriers.set_carrier(
        context, "servientrega", username="demo", password=SecretStr("demo-password"), portal_url=portal.url
    )
    carriers.enable_carrier(context, "servientrega")
    city = CoverageRow(city="Bogotá", department="Cundinamarca", carrier_city="BOGOTA (C/MARCA)")
    coverage.import_coverage(shop.connection, "servientrega", [city])
    return shop


def lost(shop: Shop, portal: Portal) -> UUID:
    """Submit an order that the portal accepts while its answer is lost, so that its item fails. Returns the order."""
    portal.change(rules=(Rule(field="address", contains="Calle", then="lost", times=1),))
    settings.cache_clear()
    orders = shop.order(1)
    create_robot_job(shop.context, orders)
    drain_all(shop.connection)
    portal.change(rules=())
    return orders[0]


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch, hasty: None) -> None:
    """One attempt for each event."""
    monkeypatch.setenv("TALLYMAN_MOST_ATTEMPTS", "1")
    settings.cache_clear()


def test_a_submit_refuses_an_order_that_another_carrier_may_have(
    database: Database, two_carriers: Shop, portal: Portal
) -> None:
    """The error names carrier, job, item and remedy."""
    item = in_doubt(database, two_carriers)
    with pytest.raises(InDoubtElsewhere, match=f"carrier coordinadora may have the order: item {item.id}") as refused:
        create_robot_job(two_carriers.context, [item.order_id, *two_carriers.order(1)], carrier="servientrega")
    assert refused.value.order_ids == (item.order_id,)
    assert scalar(two_carriers.connection, "SELECT count(*) FROM logistics.robot_jobs") == 1


@pytest.mark.usefixtures("once")
def test_pending_orders_leave_out_those_in_doubt_elsewhere(two_carriers: Shop, portal: Portal) -> None:
    """Their number is returned. The same carrier takes them."""
    order, other = lost(two_carriers, portal), two_carriers.order(1)[0]
    done = submit_pending(two_carriers.context, carrier="servientrega")
    assert done.job is not None
    assert ([item.order_id for item in items_of(two_carriers, done.job.id)], done.in_doubt) == ([other], 1)
    again = submit_pending(two_carriers.context)
    assert again.job is not None
    assert [item.order_id for item in items_of(two_carriers, again.job.id)] == [order]


def answered(shop: Shop, job: RobotJob) -> None:
    """Let the first carrier refuse the order."""
    (item,) = items_of(shop, job.id)
    update_job_item_result(shop.context, failure(item, "portal"))


def recorded(shop: Shop, job: RobotJob) -> None:
    """Record by hand that the first carrier does not have the order."""
    (item,) = items_of(shop, job.id)
    record_item(shop.context, item.id, actor="ana", reason="looked", error="it is not there")


@pytest.mark.parametrize("cleared", [answered, recorded], ids=lambda way: str(way.__name__))
def test_a_refused_order_can_go_to_another_carrier(
    two_carriers: Shop, portal: Portal, cleared: Callable[[Shop, RobotJob], None]
) -> None:
    """Also if a person recorded that."""
    orders = two_carriers.order(1)
    first = create_robot_job(two_carriers.context, orders)
    cleared(two_carriers, first)
    second = create_robot_job(two_carriers.context, orders, carrier="servientrega")
    drain_all(two_carriers.connection)
    assert [item.status for item in items_of(two_carriers, second.id)] == ["success"]
    assert portal.record.summary().accepted == 1


@pytest.mark.usefixtures("once")
def test_a_robot_does_not_enter_an_order_in_doubt_elsewhere(two_carriers: Shop, portal: Portal) -> None:
    """Submitted to both before either began: the second robot makes no call, and its item has the reason."""
    portal.change(rules=(Rule(field="address", contains="Calle", then="lost", times=1),))
    orders = two_carriers.order(1)
    both = [create_robot_job(two_carriers.context, orders, carrier=one) for one in ("coordinadora", "servientrega")]
    deliver(two_carriers.connection)
    (in_doubt_,), (refused,) = sorted(
        (items_of(two_carriers, job.id) for job in both), key=lambda some: some[0].error_type or ""
    )
    assert (in_doubt_.error_type, refused.error_type) == ("portal", "validation")
    assert f"may have the order: item {in_doubt_.id}" in (refused.error_message or "")
    assert portal.record.summary().accepted == 1
    jobs.retry_failed_items(two_carriers.context, in_doubt_.job_id)
    drain_all(two_carriers.connection)
    assert [item.status for item in items_of(two_carriers, in_doubt_.job_id)] == ["success"]
    assert portal.record.summary().accepted == 1
    assert broken(two_carriers.connection) == []


def test_an_item_that_may_be_at_another_carrier_is_found_by_order_and_by_item(two_carriers: Shop) -> None:
    """With the keys of all its calls. Its own carrier is not another one; a clear refusal is no doubt."""
    context = two_carriers.context
    orders = two_carriers.order(2)
    first, second = items_of(two_carriers, create_robot_job(context, orders).id)
    own, _ = items_of(two_carriers, create_robot_job(context, orders, carrier="servientrega").id)
    assert elsewhere.of_items(two_carriers.connection, [own.id]) == {}
    update_job_item_result(context, failure(first, "timeout"))
    update_job_item_result(context, failure(second, "portal"))
    (found,) = elsewhere.of_orders(context, orders, "servientrega")
    assert (found.order_id, found.carrier, found.item_id) == (first.order_id, "coordinadora", first.id)
    assert found.keys == [rules.request_id(first.id, 0)]
    assert f"`jobs record {first.id}`" in found.sentence
    assert elsewhere.of_orders(context, orders, "coordinadora") == []
    assert elsewhere.of_items(two_carriers.connection, [own.id, second.id]) == {own.id: [found]}
