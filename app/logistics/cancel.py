"""Cancel orders: no robot enters them any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.context import Context
from app.engine.queue.publish import publish
from app.errors import Conflict
from app.logistics import availability, orders, rules
from app.logistics.order import Order
from app.logistics.orders import OrderChange


class AlreadyShipped(Conflict):
    """Orders that a carrier has; `order_ids` are all of them."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(
            f"order_ids: {len(order_ids)} of them are shipped: {rules.name_some(order_ids)}; nothing was cancelled."
            " Cancel them with the carrier first, then `orders update ORDER --set status=cancelled`"
        )
        self.order_ids = tuple(order_ids)


@dataclass(frozen=True, slots=True)
class OrdersCancelled:
    """The orders as they are now, how many of them changed, and how many items of each open job will fail for it."""

    orders: list[Order]
    changed: int
    in_open_jobs: dict[UUID, int]


def cancel_orders(context: Context, order_ids: Sequence[UUID]) -> OrdersCancelled:
    """Cancel orders and publish `order/updated` for each that was not cancelled before.

    An item that waits for one of them fails when its turn comes; a call that a robot has begun is finished, and if the
    portal accepts, the order keeps its status and gets the tracking number. Raises `NotFound` if an order is not the
    workspace's and `AlreadyShipped`; then nothing is changed.
    """
    with context.connection.transaction():
        availability.lock_orders(context, order_ids)
        found = orders.get_orders(context, order_ids)
        if shipped := [order.id for order in found if order.status == "shipped"]:
            raise AlreadyShipped(shipped)
        changes = [OrderChange(context.tenant_id, order_id, {"status": "cancelled"}) for order_id in order_ids]
        said = orders.update_orders(context, changes)
        publish(context.connection, *said)
        in_open_jobs = availability.open_jobs(context, order_ids)
        return OrdersCancelled(orders.get_orders(context, order_ids), len(said), in_open_jobs)
