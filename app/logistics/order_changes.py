"""Change orders. No other module but `orders`, which imports them, writes orders.

A change locks the orders by id, writes the fields that differ, and publishes one `order/updated` with these fields
before and after. A change without effect publishes no event.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

import events
from app.context import Context, HandlerContext
from app.engine.queue.publish import publish
from app.logistics.order import CHANGEABLE, Order, OrderStatus, as_json, checked
from app.logistics.orders import BY_ID, get_orders, refuse_foreign_orders, select_orders
from events import Event
from events.order import OrderUpdated

log = structlog.get_logger(__name__)

_CHANGED_COLUMNS = ", ".join(CHANGEABLE)
# Not FOR UPDATE: no key changes, so jobs can be submitted for an order while it is changed.
_LOCK = f"{BY_ID} ORDER BY o.id FOR NO KEY UPDATE"
_UPDATE = f"""
UPDATE logistics.orders o
   SET ({_CHANGED_COLUMNS}) = (SELECT {_CHANGED_COLUMNS} FROM jsonb_populate_record(o, changed.fields))
  FROM jsonb_to_recordset(%s) AS changed (order_id uuid, fields jsonb)
 WHERE o.id = changed.order_id
"""


@dataclass(frozen=True, slots=True)
class OrderChange:
    """New values for fields of an order. `cause`: the event that causes the change, or None.

    `unless_cancelled`: fields that stay unchanged if the order is cancelled.
    """

    workspace_id: UUID
    order_id: UUID
    fields: Mapping[str, Any]
    cause: Event[Any] | None = None
    unless_cancelled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tracking:
    """The carrier's tracking number for an order. `cause`: the event that carried it, or None."""

    workspace_id: UUID
    order_id: UUID
    tracking_number: str
    cause: Event[Any] | None = None


def update_order(context: Context, order_id: UUID, /, **fields: Any) -> Order:
    """Change an order, publish `order/updated`, and return the changed order.

    Raises `NotFound` if it is not the workspace's, and `InvalidInput` for a field that cannot be changed or an invalid
    value.
    """
    with context.connection.transaction():
        change = OrderChange(context.tenant_id, order_id, fields)
        publish(context.connection, *update_orders(context, [change]))
        return get_orders(context, [order_id])[0]


def update_orders(context: HandlerContext, changes: Sequence[OrderChange]) -> list[Event[OrderUpdated]]:
    """Change orders of any workspaces with two statements. Returns one event for each change that has an effect.

    The caller publishes the events. Several changes of one order are applied in their order. Raises `NotFound` if an
    order does not belong to its change's workspace, and `InvalidInput` for a field that cannot be changed or an invalid
    value. In both cases nothing is changed.
    """
    return _write(context, [OrderChange(c.workspace_id, c.order_id, checked(c.fields), c.cause) for c in changes])


def set_tracking_numbers(context: HandlerContext, shipped: Sequence[Tracking]) -> list[Event[OrderUpdated]]:
    """Set the tracking number and the status `shipped` of orders of any workspaces. Returns events to publish.

    Tracking numbers are not validated, because the carrier already has the order. An order that was cancelled
    meanwhile stays cancelled and gets its number. Raises `NotFound` as `update_orders` does.
    """
    return _write(context, [_shipped(one) for one in shipped])


def _shipped(one: Tracking) -> OrderChange:
    fields = {"tracking_number": one.tracking_number, "status": "shipped"}
    return OrderChange(one.workspace_id, one.order_id, fields, one.cause, unless_cancelled=frozenset({"status"}))


def _write(context: HandlerContext, changes: Sequence[OrderChange]) -> list[Event[OrderUpdated]]:
    """Apply changes with two statements: lock the orders, then write the fields that differ."""
    if not changes:
        return []
    locked = select_orders(context.connection, _LOCK, [[change.order_id for change in changes]])
    orders = {order.id: order for order in locked}
    refuse_foreign_orders(orders, [(change.workspace_id, change.order_id) for change in changes])
    written: dict[UUID, dict[str, Any]] = defaultdict(dict)
    said = list(_decide(context, changes, orders, written))
    if said:
        rows = [
            {"order_id": str(order_id), "fields": as_json(values)} for order_id, values in written.items() if values
        ]
        context.connection.execute(_UPDATE, [Jsonb(rows)])
    return said


def _decide(
    context: HandlerContext,
    changes: Iterable[OrderChange],
    orders: Mapping[UUID, Order],
    written: dict[UUID, dict[str, Any]],
) -> Iterator[Event[OrderUpdated]]:
    """Yield the events of the changes in order, and collect the new values by order in `written`."""
    changed: Counter[UUID] = Counter()
    for change in changes:
        order, done = orders[change.order_id], written[change.order_id]
        wanted = _allowed(change, done.get("status", order.status))
        before = {name: done[name] if name in done else getattr(order, name) for name in wanted}
        after = {name: value for name, value in wanted.items() if before[name] != value}
        if after:
            done.update(after)
            values = {"before": as_json({name: before[name] for name in after}), "after": as_json(after)}
            # One cause may change an order more than once. The key gives each change its own event id.
            key = f"{change.order_id}/{changed[change.order_id]}/{after!r}"
            changed[change.order_id] += 1
            yield _event(context, change, OrderUpdated(order_id=change.order_id, **values), key)


def _allowed(change: OrderChange, status: OrderStatus) -> Mapping[str, Any]:
    if status != "cancelled" or not change.unless_cancelled:
        return change.fields
    log.warning("a cancelled order was entered at its carrier", order_id=str(change.order_id))
    return {name: value for name, value in change.fields.items() if name not in change.unless_cancelled}


def _event(context: HandlerContext, change: OrderChange, said: OrderUpdated, key: str) -> Event[OrderUpdated]:
    if change.cause is None:
        return events.new(said, now=context.now, subject=change.order_id, tenant=change.workspace_id)
    return change.cause.follow(said, context.now, key=key, subject=change.order_id)
