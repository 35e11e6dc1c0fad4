"""Find orders that may be in the portal of another carrier.

If a call at one carrier has no clear outcome, and the order is submitted to another carrier, the order could be shipped
twice. A submit rejects such orders, and a robot does not enter them. An order that a carrier has for certain is not
affected: a second submit ships it again on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.context import Connection, Context
from app.logistics import rules

# Whether item `i` of another job is in doubt: an attempt is in progress, or one ended without a clear answer. A retry
# clears the error of the previous attempt, so a retried item counts as in doubt until it ends.
_IN_DOUBT: LiteralString = """
(i.status = 'processing' OR i.status = 'pending' AND i.retry_count > 0
 OR i.status = 'error' AND (i.error_type IN ('timeout', 'unknown')
                            OR strpos(i.error_message, 'a retry asks the portal') > 0))"""
IN_DOUBT_ELSEWHERE: LiteralString = f"""
EXISTS (SELECT FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
         WHERE i.order_id = o.id AND j.carrier <> %(carrier)s AND {_IN_DOUBT})"""
"""SQL condition: a carrier other than `carrier` may have the order `o`."""
_HAS_OTHERS = """
SELECT EXISTS (SELECT FROM logistics.robot_jobs WHERE workspace_id = %(workspace)s AND carrier <> %(carrier)s)
"""
_OF_ORDERS: LiteralString = f"""
SELECT DISTINCT ON (i.order_id) i.order_id, j.carrier, i.job_id, i.id AS item_id, i.retry_count AS attempt
  FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.order_id = ANY(%(orders)s) AND j.workspace_id = %(workspace)s AND j.carrier <> %(carrier)s AND {_IN_DOUBT}
 ORDER BY i.order_id, i.id
"""  # noqa: S608 - a constant
_OF_ITEMS: LiteralString = f"""
SELECT own.id AS own_id, i.order_id, j.carrier, i.job_id, i.id AS item_id, i.retry_count AS attempt
  FROM logistics.robot_job_items own JOIN logistics.robot_jobs own_job ON own_job.id = own.job_id
  JOIN logistics.robot_job_items i ON i.order_id = own.order_id AND i.id <> own.id
  JOIN logistics.robot_jobs j ON j.id = i.job_id AND j.carrier <> own_job.carrier
 WHERE own.id = ANY(%(items)s) AND {_IN_DOUBT}
 ORDER BY own.id, i.id
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An item of a job at another carrier that may have the order."""

    order_id: UUID
    carrier: str
    job_id: UUID
    item_id: UUID
    attempt: int

    @property
    def keys(self) -> list[UUID]:
        """The keys of all calls of the item so far."""
        return [rules.request_id(self.item_id, attempt) for attempt in range(self.attempt + 1)]

    @property
    def sentence(self) -> str:
        """The reason why the order is not entered, and the remedy."""
        return (
            f"carrier {self.carrier} may have the order: item {self.item_id} of job {self.job_id} has no clear outcome;"
            f" wait, `jobs retry {self.job_id}`, or `jobs record {self.item_id}`"
        )


@dataclass(frozen=True, slots=True)
class _OfItem:
    own_id: UUID
    order_id: UUID
    carrier: str
    job_id: UUID
    item_id: UUID
    attempt: int


def of_orders(context: Context, order_ids: Sequence[UUID], carrier: str) -> list[Elsewhere]:
    """Return one item for each of the workspace's orders that a carrier other than `carrier` may have."""
    wanted = {"orders": list(order_ids), "workspace": context.tenant_id, "carrier": carrier}
    # Most workspaces have one carrier: do not send and plan a long list of orders for them.
    if not context.connection.cursor(row_factory=scalar_row).execute(_HAS_OTHERS, wanted).fetchone():
        return []
    return context.connection.cursor(row_factory=class_row(Elsewhere)).execute(_OF_ORDERS, wanted).fetchall()


def of_items(connection: Connection, item_ids: Iterable[UUID]) -> dict[UUID, list[Elsewhere]]:
    """Return the items at other carriers that may have entered the orders of these items, by the item's id."""
    found: dict[UUID, list[Elsewhere]] = {}
    for one in connection.cursor(row_factory=class_row(_OfItem)).execute(_OF_ITEMS, {"items": list(item_ids)}):
        other = Elsewhere(one.order_id, one.carrier, one.job_id, one.item_id, one.attempt)
        found.setdefault(one.own_id, []).append(other)
    return found
