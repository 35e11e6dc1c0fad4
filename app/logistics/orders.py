"""Import and read orders. `order_changes` changes them. No other module writes orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import UUID

import structlog
from psycopg.rows import class_row, scalar_row

from app.context import Connection, Context
from app.errors import InvalidInput, NotFound
from app.logistics import rules
from app.logistics.order import ORDER_COLUMNS, Order, OrderRow, OrderStatus
from events import new_id

__all__ = [
    "Imported",
    "Order",
    "OrderRow",
    "find_order",
    "get_orders",
    "import_orders",
    "list_orders",
    "orders_by_id",
]

LONGEST_PAGE = 1_000
log = structlog.get_logger(__name__)

_ROW_FIELDS = tuple(OrderRow.model_fields)
_ROW_COLUMNS = ", ".join(_ROW_FIELDS)

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
BY_ID = f"SELECT {ORDER_COLUMNS} FROM logistics.orders o WHERE o.id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: the orders' ids in the order of the rows, and counts of new and existing orders."""

    order_ids: list[UUID] = field(repr=False)
    created: int
    existing: int


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
    return select_orders(context.connection, _LIST, wanted)


def get_orders(context: Context, order_ids: Sequence[UUID]) -> list[Order]:
    """Return orders of the workspace in the order of `order_ids`. Raises `NotFound`, which lists the missing ids."""
    found = orders_by_id(context.connection, order_ids)
    refuse_foreign_orders(found, [(context.tenant_id, order_id) for order_id in order_ids])
    return [found[order_id] for order_id in order_ids]


def find_order(context: Context, wanted: str) -> Order:
    """Return the workspace's order with this reference, else with this id. Raises `NotFound`."""
    if found := select_orders(context.connection, _BY_REFERENCE, [context.tenant_id, wanted]):
        return found[0]
    try:
        return get_orders(context, [UUID(wanted)])[0]
    except ValueError:
        raise NotFound(f"order: the workspace has no {wanted!r}; `orders list` shows them") from None


def orders_by_id(connection: Connection, order_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Return orders of any workspace by id; workers check the owner themselves. Ids without an order are left out."""
    return {order.id: order for order in select_orders(connection, BY_ID, [list(order_ids)])}


def refuse_foreign_orders(orders: Mapping[UUID, Order], wanted: Iterable[tuple[UUID, UUID]]) -> None:
    """Raise `NotFound` unless each order is among `orders` and its workspace's. `wanted`: workspaces and orders."""
    foreign = [
        order_id
        for workspace_id, order_id in wanted
        if order_id not in orders or orders[order_id].workspace_id != workspace_id
    ]
    if foreign:
        raise NotFound(f"orders: no such orders in this workspace: {rules.name_some(foreign)}")


def select_orders(connection: Connection, statement: Any, parameters: Any) -> list[Order]:
    """Return the orders that a statement selects with the columns `ORDER_COLUMNS`."""
    return connection.cursor(row_factory=class_row(Order)).execute(statement, parameters).fetchall()
