"""Sellers of an organisation: one row a normalised name, counted by run.

The statements of `record_seen` lock the existing rows in one order, by organisation, platform and normalised name, then
insert new rows in the same order. Two recorders therefore never wait for each other in a circle. A later statement
counts, because only a new statement sees the rows that another transaction committed while this one waited.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.context import Connection, Context
from app.errors import InvalidInput

_COLUMNS = """
SELECT s.id, s.display_name, s.normalized_name, s.platform, s.platform_id, s.first_seen_run_id, s.last_seen_run_id,
       s.times_seen, s.feedback_score, s.item_count, s.merged_into_id, s.created_at, s.updated_at,
       (SELECT coalesce(array_agg(m.display_name ORDER BY m.display_name, m.id), '{}') FROM collection.sellers m
         WHERE m.org_id = s.org_id AND m.merged_into_id = s.id) AS other_names
  FROM collection.sellers s
"""
_LOCK = """
WITH named AS (
    SELECT s.id, s.merged_into_id FROM collection.sellers s
      JOIN unnest(%(orgs)s::uuid[], %(names)s::text[], %(platforms)s::text[]) AS seen (org_id, name, platform)
        ON s.org_id = seen.org_id AND s.normalized_name = seen.name AND s.platform = seen.platform)
SELECT s.id FROM collection.sellers s
 WHERE s.id IN (SELECT id FROM named UNION SELECT merged_into_id FROM named)
 ORDER BY s.org_id, s.platform, s.normalized_name
   FOR NO KEY UPDATE
"""
_UPSERT = """
INSERT INTO collection.sellers AS s
       (org_id, normalized_name, platform, display_name, platform_id, feedback_score, item_count, first_seen_run_id,
        last_seen_run_id, times_seen)
SELECT org_id, name, platform, display_name, platform_id, feedback, items, run_id, run_id, 0
  FROM unnest(%(orgs)s::uuid[], %(names)s::text[], %(platforms)s::text[], %(displays)s::text[], %(ids)s::text[],
              %(feedback)s::integer[], %(items)s::integer[], %(runs)s::uuid[])
       AS seen (org_id, name, platform, display_name, platform_id, feedback, items, run_id)
 ORDER BY org_id, platform, name
ON CONFLICT ON CONSTRAINT sellers_unique_normalized DO UPDATE
   SET display_name = excluded.display_name,
       platform_id = coalesce(excluded.platform_id, s.platform_id),
       feedback_score = coalesce(excluded.feedback_score, s.feedback_score),
       item_count = coalesce(excluded.item_count, s.item_count)
"""
_SEE = """
INSERT INTO collection.seller_runs (org_id, seller_id, run_id)
SELECT DISTINCT s.org_id, s.id, seen.run_id
  FROM unnest(%(orgs)s::uuid[], %(names)s::text[], %(platforms)s::text[], %(runs)s::uuid[])
       AS seen (org_id, name, platform, run_id)
  JOIN collection.sellers s ON s.org_id = seen.org_id AND s.normalized_name = seen.name AND s.platform = seen.platform
 ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING
RETURNING seller_id
"""
# `counted`: a run is counted once for a seller and all that were merged into it. The last run is the one in which the
# seller was found first most recently, so a late page of an older run does not bring that run back.
_COUNT = """
WITH roots AS (
    SELECT DISTINCT coalesce(merged_into_id, id) AS id FROM collection.sellers WHERE id = ANY(%(sellers)s)
), counted AS (
    SELECT roots.id, count(DISTINCT r.run_id) AS times,
           (array_agg(r.run_id ORDER BY r.seen_at, r.run_id))[1] AS first_run,
           (array_agg(r.run_id ORDER BY r.seen_at DESC, r.run_id DESC))[1] AS last_run
      FROM roots
      JOIN collection.sellers one ON one.id = roots.id OR one.merged_into_id = roots.id
      LEFT JOIN collection.seller_runs r ON r.org_id = one.org_id AND r.seller_id = one.id
     GROUP BY roots.id
)
UPDATE collection.sellers s
   SET times_seen = counted.times, last_seen_run_id = counted.last_run,
       first_seen_run_id = coalesce(s.first_seen_run_id, counted.first_run)
  FROM counted WHERE counted.id = s.id
"""
_LIST = f"""{_COLUMNS}
 WHERE s.org_id = %(org)s AND s.merged_into_id IS NULL
   AND (%(search)s::text IS NULL OR strpos(s.normalized_name, %(search)s) > 0)
   AND (%(after)s::uuid IS NULL OR (s.normalized_name, s.id) > (
       SELECT a.normalized_name, a.id FROM collection.sellers a WHERE a.org_id = %(org)s AND a.id = %(after)s))
 ORDER BY s.normalized_name, s.id LIMIT %(limit)s
"""  # noqa: S608 - a constant
_LONGEST_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A seller on a page of a run. `normalized_name`: by `normalise`. Empty metadata keeps what is stored."""

    org_id: UUID
    run_id: UUID
    display_name: str
    normalized_name: str
    platform: str = "ebay"
    platform_id: str | None = None
    feedback_score: int | None = None
    item_count: int | None = None

    @property
    def identity(self) -> tuple[UUID, str, str]:
        """The organisation, the platform and the normalised name: the order in which rows are locked."""
        return self.org_id, self.platform, self.normalized_name


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller of an organisation. `times_seen`: number of runs. `other_names`: of sellers that were merged into it."""

    id: UUID
    display_name: str
    normalized_name: str
    platform: str
    platform_id: str | None
    first_seen_run_id: UUID | None
    last_seen_run_id: UUID | None
    times_seen: int
    feedback_score: int | None
    item_count: int | None
    merged_into_id: UUID | None
    created_at: datetime
    updated_at: datetime
    other_names: list[str]


def record_seen(connection: Connection, seen: Iterable[Seen]) -> None:
    """Add sellers, or refresh their metadata, and count each once a run. Of two entries for one seller the last counts.

    Locks the sellers until the transaction ends. Call it after all other locks of the transaction.
    """
    found = list(seen)
    last = {(one.identity, one.run_id): one for one in found}
    newest = {one.identity: one for one in last.values()}
    if not newest:
        return
    rows = sorted(newest.values(), key=lambda one: one.identity)
    connection.execute(_LOCK, _arrays(rows))
    connection.execute(_UPSERT, _arrays(rows))
    met = connection.cursor(row_factory=scalar_row).execute(_SEE, _arrays(list(last.values()))).fetchall()
    count_runs(connection, met)


def count_runs(connection: Connection, seller_ids: Sequence[UUID]) -> None:
    """Set the number of runs of these sellers, or of those that they were merged into, whose rows must be locked."""
    if seller_ids:
        connection.execute(_COUNT, {"sellers": list(seller_ids)})


def list_sellers(
    context: Context, *, search: str | None = None, after: UUID | None = None, limit: int = 50
) -> list[Seller]:
    """Return the organisation's sellers by normalised name, at most `limit` (at most 1000), without merged ones.

    `search`: a part of the normalised name. `after`: the last seller of the previous page. Raises `InvalidInput`.
    """
    if not 1 <= limit <= _LONGEST_PAGE:
        raise InvalidInput(f"limit: must be 1 to {_LONGEST_PAGE}, not {limit}")
    wanted = {"org": context.tenant_id, "search": search, "after": after, "limit": limit}
    return context.connection.cursor(row_factory=class_row(Seller)).execute(_LIST, wanted).fetchall()


def _arrays(rows: Sequence[Seen]) -> dict[str, list[object]]:
    return {
        "orgs": [one.org_id for one in rows],
        "names": [one.normalized_name for one in rows],
        "platforms": [one.platform for one in rows],
        "displays": [one.display_name for one in rows],
        "ids": [one.platform_id for one in rows],
        "feedback": [one.feedback_score for one in rows],
        "items": [one.item_count for one in rows],
        "runs": [one.run_id for one in rows],
    }
