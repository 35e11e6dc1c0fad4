"""Orders: what customers bought and robots enter at carriers. No other module changes them.

A change locks the orders by id, writes what differs, and says so: one `order/updated` a change, with the changed
fields before and after. What changes nothing says nothing.
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
# By reference, so that two imports of the same orders wait for each other and do not deadlock.
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
# Not FOR UPDATE: no key changes, so jobs may go on being submitted for an order that is changed.
_LOCK = f"{_BY_ID} ORDER BY o.id FOR NO KEY UPDATE"
_UPDATE = f"""
UPDATE logistics.orders o
   SET ({_CHANGED_COLUMNS}) = (SELECT {_CHANGED_COLUMNS} FROM jsonb_populate_record(o, changed.fields))
  FROM jsonb_to_recordset(%s) AS changed (order_id uuid, fields jsonb)
 WHERE o.id = changed.order_id
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to: the orders' ids in the file's order, how many are new, how many were there before."""

    order_ids: list[UUID] = field(repr=False)
    created: int
    existing: int


@dataclass(frozen=True, slots=True)
class OrderChange:
    """New values for fields of an order, and the event because of which they are set, if there is one.

    On an order that is cancelled the fields `unless_cancelled` stay as they are.
    """

    workspace_id: UUID
    order_id: UUID
    fields: Mapping[str, Any]
    cause: Event[Any] | None = None
    unless_cancelled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tracking:
    """The carrier's number for an order, and the event that brought it, if one did."""

    workspace_id: UUID
    order_id: UUID
    tracking_number: str
    cause: Event[Any] | None = None


def import_orders(context: Context, rows: Iterable[OrderRow]) -> Imported:
    """Take in orders, as many as there are, without ever holding all of them.

    An order whose reference the workspace has already stays as it is. What `rows` raises undoes the whole import.
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
    """The workspace's orders by id, which is by age; `after` continues after a page's last order."""
    if status is not None and status not in get_args(OrderStatus):
        raise InvalidInput(f"status: {status!r} is none; choose one of {', '.join(get_args(OrderStatus))}")
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(f"limit: must be 1 to {LONGEST_PAGE}, not {limit}")
    wanted = {"workspace_id": context.tenant_id, "status": status, "after": after, "limit": limit}
    return _orders(context.connection, _LIST, wanted)


def get_orders(context: Context, order_ids: Sequence[UUID]) -> list[Order]:
    """These orders of the workspace, in the order of `order_ids`. Raises `NotFound` that names those it has not."""
    found = orders_by_id(context.connection, order_ids)
    _refuse_foreign_orders(found, [(context.tenant_id, order_id) for order_id in order_ids])
    return [found[order_id] for order_id in order_ids]


def find_order(context: Context, wanted: str) -> Order:
    """The workspace's order with this reference or, if no reference is so, this id. Raises `NotFound`."""
    if found := _orders(context.connection, _BY_REFERENCE, [context.tenant_id, wanted]):
        return found[0]
    try:
        return get_orders(context, [UUID(wanted)])[0]
    except ValueError:
        raise NotFound(f"order: the workspace has no {wanted!r}; `orders list` shows them") from None


def orders_by_id(connection: Connection, order_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Orders of any workspace, for workers, who have checked whose they are; those that do not exist are not there."""
    return {order.id: order for order in _orders(connection, _BY_ID, [list(order_ids)])}


def update_order(context: Context, order_id: UUID, /, **fields: Any) -> Order:
    """Change an order, publish `order/updated`, and return it as it then is.

    Raises `NotFound` if it is not the workspace's, and `InvalidInput` for a field that cannot be changed or not so.
    """
    with context.connection.transaction():
        change = OrderChange(context.tenant_id, order_id, fields)
        publish(context.connection, *update_orders(context, [change]))
        return get_orders(context, [order_id])[0]


def update_orders(context: HandlerContext, changes: Sequence[OrderChange]) -> list[Event[OrderUpdated]]:
    """Change orders of any workspaces, set-based; the caller publishes the events, one for each change that changed.

    Several changes of one order are made in their order. Raises, and changes nothing, `NotFound` if an order is not
    its change's workspace's, and `InvalidInput` for a field that cannot be changed or not so.
    """
    return _write(context, [OrderChange(c.workspace_id, c.order_id, checked(c.fields), c.cause) for c in changes])


def set_tracking_numbers(context: HandlerContext, shipped: Sequence[Tracking]) -> list[Event[OrderUpdated]]:
    """Orders of any workspaces were entered at their carrier: as `update_orders`, and as many as you like.

    The numbers are taken as they are: an order that the carrier has must not be lost over how its number looks. One
    that was cancelled meanwhile stays cancelled, with its number.
    """
    return _write(context, [_shipped(one) for one in shipped])


def _shipped(one: Tracking) -> OrderChange:
    fields = {"tracking_number": one.tracking_number, "status": "shipped"}
    return OrderChange(one.workspace_id, one.order_id, fields, one.cause, unless_cancelled=frozenset({"status"}))


def _write(context: HandlerContext, changes: Sequence[OrderChange]) -> list[Event[OrderUpdated]]:
    """Two statements, however many the changes: lock, and write what differs."""
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
    """What the changes come to, one after the other; `written` takes it in."""
    changed: Counter[UUID] = Counter()
    for change in changes:
        order, done = orders[change.order_id], written[change.order_id]
        wanted = _allowed(change, done.get("status", order.status))
        before = {name: done[name] if name in done else getattr(order, name) for name in wanted}
        after = {name: value for name, value in wanted.items() if before[name] != value}
        if after:
            done.update(after)
            values = {"before": as_json({name: before[name] for name in after}), "after": as_json(after)}
            # One cause may change an order more than once: every change is an event of its own.
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
