"""Cancel orders, so that robots do not enter them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.context import Context
from app.engine.queue.publish import publish
from app.errors import Conflict
from app.logistics import availability, orders, rules
from app.logistics.order import Order
from app.logistics.order_changes import OrderChange, update_orders


class AlreadyShipped(Conflict):
    """Orders are shipped and cannot be cancelled. `order_ids`: all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are shipped: {rules.name_some(order_ids)}; nothing was cancelled."
            " Cancel them with the carrier first, then `orders update ORDER --set status=cancelled`"
        )
        self.order_ids = tuple(order_ids)


@dataclass(frozen=True, slots=True)
class OrdersCancelled:
    """The orders after a cancel, the number changed, and by open job the number of items that will fail for it."""

    orders: list[Order]
    changed: int
    in_open_jobs: dict[UUID, int]


def cancel_orders(context: Context, order_ids: Sequence[UUID]) -> OrdersCancelled:
    """Cancel orders and publish `order/updated` for each that was not cancelled before.

    A waiting item of such an order fails at its delivery. A call that a robot has begun is finished; if the portal
    accepts it, the order stays cancelled and gets the tracking number. Raises `NotFound` if an order is not the
    workspace's, and `AlreadyShipped`. In both cases nothing is changed.
    """
    with context.connection.transaction():
        availability.lock_orders(context, order_ids)
        found = orders.get_orders(context, order_ids)
        if shipped := [order.id for order in found if order.status == "shipped"]:
            raise AlreadyShipped(shipped)
        changes = [OrderChange(context.tenant_id, order_id, {"status": "cancelled"}) for order_id in order_ids]
        said = update_orders(context, changes)
        publish(context.connection, *said)
        in_open_jobs = availability.open_jobs(context, order_ids)
        return OrdersCancelled(orders.get_orders(context, order_ids), len(said), in_open_jobs)
