"""Merge sellers that are one, and undo a merge.

A merge changes no seller but `merged_into_id` and the number of runs of the one that stays. The sightings stay with the
names under which they were made, so an undo restores both sellers' counts, also with runs that came after the merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.collection import sellers
from app.context import Connection, Context
from app.engine import audit_log
from app.errors import Conflict, InvalidInput, NotFound

# Locks the whole groups of the given sellers, in the order in which `record_seen` locks sellers.
_LOCK = """
WITH roots AS (
    SELECT coalesce(merged_into_id, id) AS id FROM collection.sellers WHERE org_id = %(org)s AND id = ANY(%(ids)s))
SELECT s.id FROM collection.sellers s
 WHERE s.org_id = %(org)s AND (s.id IN (SELECT id FROM roots) OR s.merged_into_id IN (SELECT id FROM roots))
 ORDER BY s.org_id, s.platform, s.normalized_name
   FOR NO KEY UPDATE
"""
_FIND = "SELECT id, display_name, platform, merged_into_id FROM collection.sellers WHERE org_id = %s AND id = ANY(%s)"
_MOVE = """
UPDATE collection.sellers SET merged_into_id = %(kept)s
 WHERE org_id = %(org)s AND (id = %(merged)s OR merged_into_id = %(merged)s)
RETURNING id
"""
_MOVE_BACK = """
UPDATE collection.sellers SET merged_into_id = CASE WHEN id = %(merged)s THEN NULL ELSE %(merged)s::uuid END
 WHERE org_id = %(org)s AND id = ANY(%(moved)s)
   AND merged_into_id = (SELECT merged_into_id FROM collection.sellers WHERE org_id = %(org)s AND id = %(merged)s)
"""
_NOTE = """
INSERT INTO collection.seller_merges (org_id, kept_id, merged_id, moved_ids, merged_by, reason)
VALUES (%s, %s, %s, %s, %s, %s) RETURNING *
"""
_OPEN = """
SELECT * FROM collection.seller_merges
 WHERE org_id = %(org)s AND undone_at IS NULL AND (id = %(id)s OR merged_id = %(id)s)
"""
_LOCK_OPEN = f"{_OPEN} FOR UPDATE"
_UNDONE = """
UPDATE collection.seller_merges SET undone_by = %s, undone_at = clock_timestamp()
 WHERE org_id = %s AND id = %s RETURNING *
"""
_TOLD = """
SELECT coalesce(owner.merged_into_id, owner.id), shop.id
  FROM collection.sellers shop
  JOIN collection.sellers owner
    ON owner.org_id = shop.org_id AND owner.platform = shop.platform AND owner.normalized_name = %(owner)s
 WHERE shop.org_id = %(org)s AND shop.platform = %(platform)s AND shop.normalized_name = %(slug)s
   AND shop.merged_into_id IS NULL AND coalesce(owner.merged_into_id, owner.id) <> shop.id
   AND NOT EXISTS (SELECT FROM collection.seller_merges m WHERE m.org_id = shop.org_id AND m.merged_id = shop.id)
"""
_LIST = "SELECT * FROM collection.seller_merges WHERE org_id = %s ORDER BY merged_at DESC, id LIMIT %s"


SOURCE = "source"
"""The actor of a merge that follows from what the marketplace says."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge of `merged_id` into `kept_id`. `moved_ids`: the merged seller, and those merged into it before."""

    id: UUID
    org_id: UUID
    kept_id: UUID
    merged_id: UUID
    moved_ids: list[UUID]
    merged_by: str
    reason: str | None
    merged_at: datetime
    undone_by: str | None
    undone_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Named:
    id: UUID
    display_name: str
    platform: str
    merged_into_id: UUID | None


def merge(
    context: Context, kept_id: UUID, merged_ids: Sequence[UUID], *, actor: str, reason: str | None = None
) -> list[Merge]:
    """Merge sellers into `kept_id`, in one transaction. Returns the merges, in the order of `merged_ids`.

    Raises `NotFound` if one is not a seller of the organisation, `InvalidInput` for an empty list, a seller that is
    named twice or of another platform, and `Conflict` if one was merged before.
    """
    if not merged_ids:
        raise InvalidInput("merged: name at least one seller to merge")
    if len({kept_id, *merged_ids}) < len(merged_ids) + 1:
        raise InvalidInput("merged: a seller is named twice")
    connection = context.connection
    with connection.transaction():
        connection.execute(_LOCK, {"org": context.tenant_id, "ids": [kept_id, *merged_ids]})
        _check(_find(context, [kept_id, *merged_ids]), kept_id, merged_ids)
        done = [_merge_one(context, kept_id, merged_id, actor, reason) for merged_id in merged_ids]
        sellers.count_runs(connection, [kept_id])
    return done


def undo(context: Context, id_: UUID, *, actor: str) -> Merge:
    """Undo a merge, by its id or by the merged seller's. Returns it.

    Sellers that were merged into the merged one before go back to it. Raises `NotFound` if there is no such merge that
    has not been undone.
    """
    connection = context.connection
    with connection.transaction():
        # Lock the sellers first, as `merge()` does, and read the merge again under its own lock.
        if (named := _open(context, _OPEN, id_)) is not None:
            connection.execute(_LOCK, {"org": context.tenant_id, "ids": [named.merged_id]})
        if (found := _open(context, _LOCK_OPEN, id_)) is None:
            raise NotFound(f"merge: {id_} is no merge or merged seller that can be undone; `sellers merges` shows them")
        keeps = _find(context, [found.merged_id])[found.merged_id].merged_into_id
        connection.execute(_MOVE_BACK, {"org": context.tenant_id, "merged": found.merged_id, "moved": found.moved_ids})
        undone = (
            connection.cursor(row_factory=class_row(Merge))
            .execute(_UNDONE, [actor, context.tenant_id, found.id])
            .fetchone()
        )
        sellers.count_runs(connection, [one for one in (found.merged_id, keeps) if one])
        audit_log.record(connection, actor, "sellers undo", subject=found.merged_id, details={"merge": str(found.id)})
    return undone or found


def list_merges(context: Context, limit: int = 100) -> list[Merge]:
    """Return the organisation's merges, newest first, at most `limit`."""
    cursor = context.connection.cursor(row_factory=class_row(Merge))
    return cursor.execute(_LIST, [context.tenant_id, limit]).fetchall()


def merge_as_told(connection: Connection, told: Iterable[tuple[UUID, str, str, str]]) -> None:
    """Merge shops into their owners, because the source says that they are one.

    `told`: for each shop its organisation, platform, normalised slug and its owner's normalised name, all recorded and
    locked by `sellers.record_seen` in the same transaction. A merge that a person has undone is not repeated.
    """
    for org_id, platform, slug, owner in sorted(set(told)):
        values = {"org": org_id, "platform": platform, "slug": slug, "owner": owner}
        for kept_id, merged_id in connection.execute(_TOLD, values).fetchall():
            context = Context.start(connection, org_id)
            _merge_one(context, kept_id, merged_id, SOURCE, "the source says that they are one")
            sellers.count_runs(connection, [kept_id])


def _open(context: Context, statement: LiteralString, id_: UUID) -> Merge | None:
    cursor = context.connection.cursor(row_factory=class_row(Merge))
    return cursor.execute(statement, {"org": context.tenant_id, "id": id_}).fetchone()


def _merge_one(context: Context, kept_id: UUID, merged_id: UUID, actor: str, reason: str | None) -> Merge:
    connection = context.connection
    wanted = {"org": context.tenant_id, "kept": kept_id, "merged": merged_id}
    moved = connection.cursor(row_factory=scalar_row).execute(_MOVE, wanted).fetchall()
    values = [context.tenant_id, kept_id, merged_id, moved, actor, reason]
    done = connection.cursor(row_factory=class_row(Merge)).execute(_NOTE, values).fetchone()
    if done is None:
        raise TypeError(merged_id)
    audit_log.record(
        connection, actor, "sellers merge", subject=merged_id, reason=reason, details={"into": str(kept_id)}
    )
    return done


def _find(context: Context, ids: Sequence[UUID]) -> dict[UUID, _Named]:
    cursor = context.connection.cursor(row_factory=class_row(_Named))
    return {one.id: one for one in cursor.execute(_FIND, [context.tenant_id, list(ids)])}


def _check(found: dict[UUID, _Named], kept_id: UUID, merged_ids: Sequence[UUID]) -> None:
    for id_ in (kept_id, *merged_ids):
        if id_ not in found:
            raise NotFound(f"seller: {id_} is no seller of this organisation; `sellers list` shows them")
        if (root := found[id_].merged_into_id) is not None:
            name = found[id_].display_name
            raise Conflict(f"seller: {name} was merged into {root} before; use that one, or `sellers undo {id_}` first")
        if found[id_].platform != found[kept_id].platform:
            raise InvalidInput(f"seller: {found[id_].display_name} is of another platform, {found[id_].platform}")
