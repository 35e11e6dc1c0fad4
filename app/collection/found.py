"""Read what a run has found: its items, and their number by status and reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.collection import rules
from app.context import Context

STATUSES = ("pending", "processing", "completed", "failed", "skipped")
_COUNT = """
SELECT status, error_code, count(*) AS items FROM collection.collection_items
 WHERE org_id = %s AND run_id = %s GROUP BY 1, 2 ORDER BY 1, 2 NULLS FIRST
"""
_LIST = """
SELECT id, marketplace, item_type, external_id, status, data, error_code, error_message, cost_cents, attempt,
       created_at, completed_at
  FROM collection.collection_items
 WHERE org_id = %(org)s AND run_id = %(run)s AND (%(status)s::text IS NULL OR status = %(status)s)
   AND (%(after)s::uuid IS NULL OR id > %(after)s)
 ORDER BY id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ItemCount:
    """The number of a run's items with a status and, if it says why, an error code."""

    status: str
    error_code: str | None
    items: int


@dataclass(frozen=True, slots=True)
class Item:
    """A product or seller that a run found. `cost_cents`: its part of its page's cost."""

    id: UUID
    marketplace: str
    item_type: str
    external_id: str
    status: str
    data: Mapping[str, Any] | None
    error_code: str | None
    error_message: str | None
    cost_cents: int
    attempt: int
    created_at: datetime
    completed_at: datetime | None


def count_items(context: Context, run_id: UUID) -> list[ItemCount]:
    """Return the number of a run's items by status and error code. Empty for another organisation's run."""
    cursor = context.connection.cursor(row_factory=class_row(ItemCount))
    return cursor.execute(_COUNT, [context.tenant_id, run_id]).fetchall()


def list_items(
    context: Context, run_id: UUID, *, status: str | None = None, after: UUID | None = None, limit: int = 50
) -> list[Item]:
    """Return a run's items by id, at most `limit` (at most 1000). `after`: the last item of the previous page.

    `status`: only items with this status. Raises `InvalidInput`.
    """
    rules.check_page(limit)
    if status is not None:
        rules.check_word(status, STATUSES)
    wanted = {"org": context.tenant_id, "run": run_id, "status": status, "after": after, "limit": limit}
    return context.connection.cursor(row_factory=class_row(Item)).execute(_LIST, wanted).fetchall()
