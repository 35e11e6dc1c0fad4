"""List replay plans with their progress."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.dead_letters.forecast import REPLAYED

PAGE = 100
"""Plans per page of the server-side cursor."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A plan with counts of letters: all, still to be replayed, and replayed without an outcome yet."""

    id: UUID
    created_at: datetime
    created_by: str
    filters: dict[str, Any]
    letters: int
    to_replay: int
    waiting: int
    finished_at: datetime | None
    expired_at: datetime | None


_LIST = """
SELECT p.id, p.created_at, p.created_by, p.filters, count.letters, count.to_replay, count.waiting, p.finished_at,
       p.expired_at
  FROM engine.replay_plans p,
       LATERAL (
           SELECT count(*) AS letters,
                  count(*) FILTER (WHERE l.class = ANY(%(replayed)s) AND l.replayed_at IS NULL) AS to_replay,
                  count(*) FILTER (WHERE l.replayed_at IS NOT NULL AND l.outcome IS NULL AND NOT EXISTS (
                      SELECT FROM engine.event_log e WHERE e.event_id = l.awaited_id) AND NOT EXISTS (
                      SELECT FROM engine.failed_jobs f WHERE f.event_id = l.awaited_id AND f.failed_at > l.replayed_at)
                  ) AS waiting
             FROM engine.replay_plan_letters l WHERE l.plan_id = p.id) count
 WHERE (%(every)s OR p.finished_at IS NULL AND p.expired_at IS NULL)
   AND (%(tenant)s::text IS NULL OR p.filters ->> 'tenant' = %(tenant)s)
   AND (%(before)s::uuid IS NULL OR (p.created_at, p.id) < (
           SELECT b.created_at, b.id FROM engine.replay_plans b WHERE b.id = %(before)s))
 ORDER BY p.created_at DESC, p.id DESC LIMIT %(limit)s
"""


def pages(
    connection: Connection, *, every: bool, limit: int, tenant: UUID | None = None, before: UUID | None = None
) -> Iterator[list[Listed]]:
    """Yield at most `limit` plans, newest first, in pages. Without `every`: only plans neither finished nor expired.

    `tenant`: only plans of this tenant's letters. `before`: continue after this plan.
    """
    wanted = {
        "replayed": list(REPLAYED),
        "every": every,
        "limit": limit,
        "tenant": None if tenant is None else str(tenant),
        "before": before,
    }
    with connection.transaction(), connection.cursor(name="plans", row_factory=class_row(Listed)) as cursor:
        cursor.execute(_LIST, wanted)
        while page := cursor.fetchmany(PAGE):
            yield page
