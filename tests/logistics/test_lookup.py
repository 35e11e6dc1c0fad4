"""Ask the portals about requests whose calls may have been made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

import events
from app.logistics import carriers, lookup
from app.logistics.effects import close
from app.logistics.jobs import create_robot_job
from app.logistics.store import RobotJobItem
from app.simulators.portal import Portal
from events import Event, new_id
from events.robot import ItemRequested
from tests.helpers.robot_results import items_of, submitted
from tests.helpers.shops import Shop
from tests.helpers.support import drain_all

pytestmark = pytest.mark.usefixtures("hasty")


def request(shop: Shop, item: RobotJobItem, carrier: str = "coordinadora") -> Event[ItemRequested]:
    """Return the request of an item."""
    data = ItemRequested(
        job_id=item.job_id, item_id=item.id, order_id=item.order_id, attempt=item.retry_count, carrier=carrier
    )
    return events.new(data, now=shop.context.now, subject=item.job_id, tenant=shop.workspace_id)


def answers(*requested: Event[ItemRequested]) -> dict[UUID, str]:
    """Ask, and close the connections to the portal."""

    async def run() -> dict[UUID, str]:
        try:
            return await lookup.ask(requested)
        finally:
            await close()

    return asyncio.run(run())


def test_the_portal_is_asked_for_each_order(shop: Shop, portal: Portal) -> None:
    """The answer says what a replay does. Nothing is entered."""
    entered = create_robot_job(shop.context, shop.order(1))
    drain_all(shop.connection)
    (known,) = items_of(shop, entered.id)
    _, (new,) = submitted(shop, 1)
    before = len(portal.record.entries)
    there, missing = request(shop, known), request(shop, new)
    found = answers(there, missing)
    assert (
        found[there.id] == f"the portal has it as {known.tracking_number}: the replay records that and enters nothing"
    )
    assert found[missing.id] == "the portal does not know it: the replay enters it"
    assert len(portal.record.entries) == before


def test_what_cannot_be_asked_about_has_a_reason(shop: Shop, portal: Portal) -> None:
    """An account that is disabled, an item that does not exist, a portal that is away."""
    _, (item,) = submitted(shop, 1)
    unknown = request(shop, replace(item, id=new_id()))
    assert answers(unknown)[unknown.id] == "the portal was not asked: the item is gone"
    carriers.set_carrier(shop.context, "coordinadora", portal_url="http://127.0.0.1:9")
    away = request(shop, item)
    assert answers(away)[away.id].startswith("the portal could not be asked: ")
    carriers.disable_carrier(shop.context, "coordinadora")
    disabled = request(shop, item)
    assert answers(disabled)[disabled.id] == "the portal was not asked: the carrier is disabled or has no credentials"
