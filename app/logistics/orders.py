"""Import, read and change orders. No other module writes orders.

A change locks the orders by id, writes the fields that differ, and publishes one `order/updated` with these fields
before and after. A change without effect publishes no event.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import UUID

import structlog
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

import events
from app.context import Connection, Context, HandlerContext
from app.engine.queue.publish import publish
from app.errors import InvalidInput, NotFound
from app.logistics import rules
from app.logistics.order import CHANGEABLE, ORDER_COLUMNS, Order, OrderRow, OrderStatus, as_json, checked
from events import Event, new_id
from events.order import OrderUpdated

__all__ = [
    "CHANGEABLE",
    "Imported",
    "Order",
    "OrderChange",
    "OrderRow",
    "Tracking",
    "find_order",
    "get_orders",
    "import_orders",
    "list_orders",
    "orders_by_id",
    "set_tracking_numbers",
    "update_order",
    "update_orders",
]

LONGEST_PAGE = 1_000
log = structlog.get_logger(__name__)

_ROW_FIELDS = tuple(OrderRow.model_fields)
_ROW_COLUMNS = ", ".join(_ROW_FIELDS)
_CHANGED_COLUMNS = ", ".join(CHANGEABLE)

_INCOMING = f"""
CREATE TEMP TABLE incoming_orders ON COMMIT DROP AS
SELECT 0::bigint AS line, id, {_ROW_COLUMNS} FROM logistics.orders WITH NO DATA
"""
_COPY = f"COPY incoming_orders (line, id, {_ROW_COLUMNS}) FROM STDIN"
# Insert in the order of the reference, so that two imports of the same orders do not deadlock.
_TAKE_IN = f"""
INSERT INTO logistics.orders (id, workspace_id, {_ROW_COLUMNS})
SELECT id, %s, {_ROW_COLUMNS} FROM incoming_orders ORDER BY reference
    ON CONFLICT (workspace_id, reference) DO NOTHING
"""
_TAKEN_IN = """
SELECT o.id FROM incoming_orders i JOIN logistics.orders o ON o.workspace_id = %s AND o.reference = i.reference
 ORDER BY i.line
"""
_LIST = f"""
SELECT {ORDER_COLUMNS} FROM logistics.orders o
 WHERE o.workspace_id = %(workspace_id)s AND (%(status)s::text IS NULL OR o.status = %(status)s)
   AND (%(after)s::uuid IS NULL OR o.id > %(after)s)
 ORDER BY o.id
 LIMIT %(limit)s
"""
_BY_REFERENCE = f"SELECT {ORDER_COLUMNS} FROM logistics.orders o WHERE o.workspace_id = %s AND o.reference = %s"
_BY_ID = f"SELECT {ORDER_COLUMNS} FROM logistics.orders o WHERE o.id = ANY(%s)"
# Not FOR UPDATE: no key changes, so jobs can be submitted for an order while it is changed.
_LOCK = f"{_BY_ID} ORDER BY o.id FOR NO KEY UPDATE"
_UPDATE = f"""
UPDATE logistics.orders o
   SET ({_CHANGED_COLUMNS}) = (SELECT {_CHANGED_COLUMNS} FROM jsonb_populate_record(o, changed.fields))
  FROM jsonb_to_recordset(%s) AS changed (order_id uuid, fields jsonb)
 WHERE o.id = changed.order_id
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: the orders' ids in the order of the rows, and counts of new and existing orders."""

    order_ids: list[UUID] = field(repr=False)
    created: int
    existing: int


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


def import_orders(context: Context, rows: Iterable[OrderRow]) -> Imported:
    """Import orders as a stream, in one transaction.

    Orders whose reference exists in the workspace stay unchanged. An error raised by `rows` rolls the import back.
    """
    connection = context.connection
    with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.incoming_orders")
        cursor.execute(_INCOMING)
        with cursor.copy(_COPY) as copy:
            for line, row in enumerate(rows):
                copy.write_row((line, new_id(), *(getattr(row, name) for name in _ROW_FIELDS)))
        created = cursor.execute(_TAKE_IN, [context.tenant_id]).rowcount
        order_ids = cursor.execute(_TAKEN_IN, [context.tenant_id]).fetchall()
    return Imported(order_ids, created, len(order_ids) - created)


def list_orders(
    context: Context, *, status: str | None = None, after: UUID | None = None, limit: int = 100
) -> list[Order]:
    """Return at most `limit` (1 to 1000) of the workspace's orders, oldest first. Raises `InvalidInput`.

    `after`: the last order of the previous page.
    """
    if status is not None and status not in get_args(OrderStatus):
        raise InvalidInput(f"status: {status!r} is not a status; choose one of {', '.join(get_args(OrderStatus))}")
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(f"limit: must be 1 to {LONGEST_PAGE}, not {limit}")
    wanted = {"workspace_id": context.tenant_id, "status": status, "after": after, "limit": limit}
    return _orders(context.connection, _LIST, wanted)


def get_orders(context: Context, order_ids: Sequence[UUID]) -> list[Order]:
    """Return orders of the workspace in the order of `order_ids`. Raises `NotFound`, which lists the missing ids."""
    found = orders_by_id(context.connection, order_ids)
    _refuse_foreign_orders(found, [(context.tenant_id, order_id) for order_id in order_ids])
    return [found[order_id] for order_id in order_ids]


def find_order(context: Context, wanted: str) -> Order:
    """Return the workspace's order with this reference, else with this id. Raises `NotFound`."""
    if found := _orders(context.connection, _BY_REFERENCE, [context.tenant_id, wanted]):
        return found[0]
    try:
        return get_orders(context, [UUID(wanted)])[0]
    except ValueError:
        raise NotFound(f"order: the workspace has no {wanted!r}; `orders list` shows them") from None


def orders_by_id(connection: Connection, order_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Return orders of any workspace by id; workers check the owner themselves. Ids without an order are left out."""
    return {order.id: order for order in _orders(connection, _BY_ID, [list(order_ids)])}


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
    locked = _orders(context.connection, _LOCK, [[change.order_id for change in changes]])
    orders = {order.id: order for order in locked}
    _refuse_foreign_orders(orders, [(change.workspace_id, change.order_id) for change in changes])
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


def _refuse_foreign_orders(orders: Mapping[UUID, Order], wanted: Iterable[tuple[UUID, UUID]]) -> None:
    foreign = [
        order_id
        for workspace_id, order_id in wanted
        if order_id not in orders or orders[order_id].workspace_id != workspace_id
    ]
    if foreign:
        raise NotFound(f"orders: no such orders in this workspace: {rules.name_some(foreign)}")


def _orders(connection: Connection, statement: Any, parameters: Any) -> list[Order]:
    return connection.cursor(row_factory=class_row(Order)).execute(statement, parameters).fetchall()
