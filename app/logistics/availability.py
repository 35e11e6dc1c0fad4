"""Select the orders that a job may take: lock the orders, then check them.

Two concurrent submits must not take the same order. Each submit locks its orders by id and checks them in a second
statement, because only a new statement sees rows that another transaction committed while this one waited. A retry
locks the orders of its items in the same way, because it reopens the items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.context import Connection, Context
from app.logistics import carriers
from app.logistics.elsewhere import IN_DOUBT_ELSEWHERE
from events import Event
from events.robot import ItemRequested

_IN_OPEN_ITEM: LiteralString = """
EXISTS (SELECT FROM logistics.robot_job_items i WHERE i.order_id = o.id AND i.status IN ('pending', 'processing'))"""
# Not FOR UPDATE: no key changes, so the foreign keys of items do not wait.
_LOCK = """
WITH locked AS MATERIALIZED (
    SELECT id, status FROM logistics.orders WHERE id = ANY(%s) AND workspace_id = %s ORDER BY id FOR NO KEY UPDATE)
SELECT count(*) AS count, coalesce(array_agg(id) FILTER (WHERE status = 'cancelled'), '{}') AS cancelled FROM locked
"""
_LOCK_FREE: LiteralString = f"""
SELECT o.id FROM logistics.orders o
 WHERE o.workspace_id = %(workspace)s AND o.status = 'pending' AND NOT {_IN_OPEN_ITEM} AND NOT {IN_DOUBT_ELSEWHERE}
 ORDER BY o.id FOR NO KEY UPDATE
"""  # noqa: S608 - a constant
_LOCK_OF_ITEMS = """
SELECT o.id FROM logistics.orders o
 WHERE o.id IN (SELECT order_id FROM logistics.robot_job_items WHERE id = ANY(%s))
 ORDER BY o.id FOR NO KEY UPDATE
"""
_MISSING = """
SELECT wanted.id FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (id, n)
 WHERE NOT EXISTS (SELECT FROM logistics.orders o WHERE o.id = wanted.id AND o.workspace_id = %s)
 ORDER BY wanted.n
"""
_ALL_CANCELLED = "SELECT id FROM logistics.orders WHERE id = ANY(%s) AND status = 'cancelled'"
_TAKEN: LiteralString = f"""
SELECT o.id FROM logistics.orders o
 WHERE o.id = ANY(%s) AND o.workspace_id = %s AND (o.status = 'shipped' OR {_IN_OPEN_ITEM})
 ORDER BY o.id
"""  # noqa: S608 - a constant
_COUNT_REPEATED = """
SELECT count(*) FROM logistics.robot_job_items own JOIN logistics.orders o ON o.id = own.order_id
 WHERE own.job_id = %s AND o.workspace_id = %s
   AND (o.status = 'shipped' OR EXISTS (
       SELECT FROM logistics.robot_job_items i
        WHERE i.order_id = o.id AND i.job_id <> own.job_id AND i.status IN ('pending', 'processing')))
"""
_STILL_FREE: LiteralString = f"""
SELECT o.id FROM logistics.orders o
 WHERE o.id = ANY(%(orders)s) AND NOT {_IN_OPEN_ITEM} AND NOT {IN_DOUBT_ELSEWHERE} ORDER BY o.id
"""  # noqa: S608 - a constant
_COUNT_IN_DOUBT: LiteralString = f"""
SELECT count(*) FROM logistics.orders o
 WHERE o.workspace_id = %(workspace)s AND o.status = 'pending' AND NOT {_IN_OPEN_ITEM} AND {IN_DOUBT_ELSEWHERE}
"""  # noqa: S608 - a constant
_PENDING_IN_JOBS = """
SELECT i.job_id, count(*) FROM logistics.orders o JOIN logistics.robot_job_items i ON i.order_id = o.id
 WHERE o.workspace_id = %s AND o.status = 'pending' AND i.status IN ('pending', 'processing')
 GROUP BY i.job_id ORDER BY i.job_id
"""
_OPEN_JOBS = """
SELECT i.job_id, count(*) FROM logistics.orders o JOIN logistics.robot_job_items i ON i.order_id = o.id
 WHERE o.id = ANY(%s) AND o.workspace_id = %s AND i.status IN ('pending', 'processing')
 GROUP BY i.job_id ORDER BY i.job_id
"""


@dataclass(frozen=True, slots=True)
class LockedOrders:
    """The number of locked orders, and the ids of those that are cancelled. Both hold until the transaction ends."""

    count: int
    cancelled: list[UUID]


def lock_orders(context: Context, order_ids: Sequence[UUID]) -> LockedOrders:
    """Lock the workspace's orders among `order_ids` until the transaction ends.

    A row lock returns the version of the row that it locked, so the statuses are current.
    """
    cursor = context.connection.cursor(row_factory=class_row(LockedOrders))
    return cursor.execute(_LOCK, [list(order_ids), context.tenant_id]).fetchone() or LockedOrders(0, [])


def lock_orders_of_items(connection: Connection, item_ids: Sequence[UUID]) -> None:
    """Lock the orders of locked items until the transaction ends. Call this before the items are reopened."""
    connection.execute(_LOCK_OF_ITEMS, [list(item_ids)])


def lock_free_orders(context: Context, carrier: str) -> list[UUID]:
    """Lock the workspace's pending orders that are in no open job and in doubt at no carrier other than `carrier`.

    Returns their ids, oldest first.
    """
    cursor = context.connection.cursor(row_factory=scalar_row)
    locked = cursor.execute(_LOCK_FREE, {"workspace": context.tenant_id, "carrier": carrier}).fetchall()
    return cursor.execute(_STILL_FREE, {"orders": locked, "carrier": carrier}).fetchall()


def count_in_doubt(context: Context, carrier: str) -> int:
    """Return the number of pending orders in no open job that a carrier other than `carrier` may have."""
    wanted = {"workspace": context.tenant_id, "carrier": carrier}
    return int(context.connection.cursor(row_factory=scalar_row).execute(_COUNT_IN_DOUBT, wanted).fetchone() or 0)


def missing_orders(context: Context, order_ids: Sequence[UUID]) -> list[UUID]:
    """Return the ids in `order_ids` that are not orders of the workspace, in the list's order."""
    return _ids(context, _MISSING, order_ids)


def taken_orders(context: Context, order_ids: Sequence[UUID]) -> list[UUID]:
    """Return the ids in `order_ids` whose order is shipped or in an open item of any job."""
    return _ids(context, _TAKEN, order_ids)


def count_repeated(context: Context, job_id: UUID) -> int:
    """Count a new job's orders that are shipped already or have an open item in another job."""
    row = context.connection.execute(_COUNT_REPEATED, [job_id, context.tenant_id]).fetchone()
    return int(row[0]) if row else 0


def pending_in_open_jobs(context: Context) -> dict[UUID, int]:
    """Return the number of the workspace's pending orders in open items, by job id."""
    return dict(context.connection.execute(_PENDING_IN_JOBS, [context.tenant_id]).fetchall())


def open_jobs(context: Context, order_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the number of `order_ids` in open items, by job id."""
    return dict(context.connection.execute(_OPEN_JOBS, [list(order_ids), context.tenant_id]).fetchall())


def obstacles(connection: Connection, requested: Sequence[Event[ItemRequested]]) -> dict[UUID, str]:
    """Return why a robot would not enter the orders of requests now, by event id.

    Reasons: the account is disabled or incomplete, or the order is cancelled.
    """
    keys = sorted({(event.tenantid, event.data.carrier) for event in requested if event.tenantid})
    configs = carriers.portal_configs(connection, keys)
    order_ids = [event.data.order_id for event in requested]
    cancelled = set(connection.cursor(row_factory=scalar_row).execute(_ALL_CANCELLED, [order_ids]))
    found: dict[UUID, str] = {}
    for event in requested:
        asked = event.data
        config = configs.get((event.tenantid, asked.carrier)) if event.tenantid else None
        if config is None or not config.is_ready:
            found[event.id] = f"carrier {asked.carrier} is disabled or has no credentials"
        elif asked.order_id in cancelled:
            found[event.id] = f"order {asked.order_id} is cancelled: it would not be entered"
    return found


def _ids(context: Context, statement: LiteralString, order_ids: Sequence[UUID]) -> list[UUID]:
    cursor = context.connection.cursor(row_factory=scalar_row)
    return cursor.execute(statement, [list(order_ids), context.tenant_id]).fetchall()
