"""The orders that results of items ship."""

from __future__ import annotations

from app.logistics.results import orders_of
from tests.helpers.robot_results import failure, said, submitted, success
from tests.helpers.shops import Shop


def test_only_successful_results_ship_orders(shop: Shop) -> None:
    """By the event's id. Other events, and results of unknown items, are left out."""
    _, (first, second) = submitted(shop, 2)
    shipped, failed = said(shop, success(first)), said(shop, failure(second))
    unknown = said(shop, success(second).model_copy(update={"item_id": first.job_id}))
    assert orders_of(shop.connection, [shipped, failed, unknown]) == {shipped.id: first.order_id}
    assert orders_of(shop.connection, []) == {}
