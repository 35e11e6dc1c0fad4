"""Items of runs: record what a page found, ask for failed ones again, and count results.

A run has each item once. Settling a page inserts its new items with their results, and shares the page's cost among
them. An item with an error that can pass waits for the page that asks for it again. The result of such an item is an
event, `item.completed`, which `counting.count()` applies.

The run of every item that changes is locked, so the items themselves need no lock order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from psycopg.rows import class_row
from pydantic_core import to_json

from app.collection import sellers_seen
from app.collection.chain import Causes, say
from app.collection.pages import Asked, Page
from app.collection.sellers_seen import ItemResult
from app.collection.verdicts import MOST_REPEATS, Verdict, judge, missing, unwanted_names
from app.context import Connection, HandlerContext
from app.engine.domain import wiring
from app.engine.subscribers import copies
from events import Event
from events.collection import FoundItem, ItemCompleted, PageCompleted

Key = tuple[str, str, str]
"""Marketplace, type and external id of an item: its identity in a run."""

# The first time that an item appears counts. The first `cost mod n` of the page's n new items bear a cent more.
_INSERT = """
WITH said AS MATERIALIZED (
    SELECT DISTINCT ON (run_id, marketplace, item_type, external_id) *
      FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (
               org_id uuid, run_id uuid, page_id uuid, cost integer, marketplace text, item_type text, external_id text,
               status text, attempt integer, data jsonb, error_code text, error_message text))
      WITH ORDINALITY AS item (org_id, run_id, page_id, cost, marketplace, item_type, external_id, status, attempt,
                               data, error_code, error_message, n)
     ORDER BY run_id, marketplace, item_type, external_id, n),
fresh AS (
    SELECT said.*, row_number() OVER (PARTITION BY page_id ORDER BY n) AS place,
           count(*) OVER (PARTITION BY page_id) AS sharers
      FROM said
     WHERE NOT EXISTS (SELECT FROM collection.collection_items i
                        WHERE (i.run_id, i.marketplace, i.item_type, i.external_id)
                              = (said.run_id, said.marketplace, said.item_type, said.external_id)))
INSERT INTO collection.collection_items
       (org_id, run_id, page_id, marketplace, item_type, external_id, status, attempt, cost_cents, started_at,
        data, error_code, error_message, completed_at)
SELECT org_id, run_id, page_id, marketplace, item_type, external_id, status, attempt,
       cost / sharers + (place <= cost %% sharers)::integer, statement_timestamp(),
       data, error_code, error_message, CASE WHEN status <> 'pending' THEN statement_timestamp() END
  FROM fresh ORDER BY n
RETURNING page_id, marketplace, item_type, external_id, cost_cents
"""
_WAITING = """
SELECT id, page_id, marketplace, item_type, external_id, attempt, cost_cents, error_code, error_message
  FROM collection.collection_items WHERE page_id = ANY(%s) AND status = 'pending'
 ORDER BY external_id, marketplace, item_type
"""
_TAKE = """
UPDATE collection.collection_items i
   SET status = said.status, attempt = said.attempt
  FROM unnest(%s::uuid[], %s::text[], %s::integer[]) AS said (id, status, attempt)
 WHERE i.id = said.id
"""


@dataclass(frozen=True, slots=True)
class PageResult:
    """The result of a locked page, and the event that it came with."""

    page: Page
    data: PageCompleted
    cause: Event[Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """New items by run, external ids to ask for again by page, and the events to publish."""

    found: Mapping[UUID, Found]
    again: Mapping[UUID, Sequence[str]]
    follow: list[Event[Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """The number of new items, and how many of them are processed or have failed."""

    total: int = 0
    processed: int = 0
    failed: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(self.total + other.total, self.processed + other.processed, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class _New:
    page_id: UUID
    marketplace: str
    item_type: str
    external_id: str
    cost_cents: int


@dataclass(frozen=True, slots=True)
class _Waiting(_New):
    id: UUID
    attempt: int
    error_code: str | None
    error_message: str | None


def key_of(item: Any) -> Key:
    """Return the identity of an item in its run."""
    return (item.marketplace, item.item_type, item.external_id)


def record(context: HandlerContext, results: Sequence[PageResult]) -> Recorded:
    """Record the items of results of locked pages. `results`: those whose pages end."""
    whole = [one for one in results if one.page.external_ids is None and one.data.items]
    single = [one for one in results if one.page.external_ids is not None]
    first, repeated = _insert(context, whole), _repeat(context, single)
    return Recorded(first.found, {**first.again, **repeated.again}, [*first.follow, *repeated.follow])


def _insert(context: HandlerContext, results: Sequence[PageResult]) -> Recorded:
    if not results:
        return Recorded({}, {}, [])
    by_page = {one.page.id: one for one in results}
    judged: dict[tuple[UUID, Key], tuple[FoundItem, Verdict]] = {}
    rows = []
    for one in results:
        unwanted = unwanted_names(one.page.unwanted)
        for item in one.data.items:
            verdict = judge(item, unwanted, 0 if one.page.run_has_ended else MOST_REPEATS)
            judged.setdefault((one.page.id, key_of(item)), (item, verdict))
            rows.append(_row(one, item, verdict))
    cursor = context.connection.cursor(row_factory=class_row(_New))
    found, again = dict[UUID, Found](), dict[UUID, list[str]]()
    ended: list[tuple[PageResult, _New, FoundItem, Verdict]] = []
    for new in cursor.execute(_INSERT, [to_json(rows).decode()]):
        one, (item, verdict) = by_page[new.page_id], judged[new.page_id, key_of(new)]
        found[one.page.run_id] = found.get(one.page.run_id, Found()) + _counted(verdict)
        if verdict.again:
            again.setdefault(one.page.id, []).append(item.external_id)
        else:
            ended.append((one, new, item, verdict))
    sellers_seen.record(context.connection, [_result(*one) for one in ended])
    return Recorded(found, again, _for_subscribers(context, ended))


def _result(one: PageResult, _new: _New, item: FoundItem, verdict: Verdict) -> ItemResult:
    page = one.page
    return ItemResult(page.org_id, page.run_id, item.item_type, item.external_id, verdict.status, item.data)


def _counted(verdict: Verdict) -> Found:
    if verdict.again:
        return Found(1)
    return Found(1, failed=1) if verdict.status == "failed" else Found(1, processed=1)


def _for_subscribers(
    context: HandlerContext, ended: Sequence[tuple[PageResult, _New, FoundItem, Verdict]]
) -> list[Event[Any]]:
    """Return copies of the `item.completed` of items with results, if the program has subscribers to them."""
    table = wiring()
    subscribed = table.subscriptions.get(ItemCompleted)
    if not subscribed:
        return []
    said = [_completed(context, one.page, new, item.data, verdict, one.cause) for one, new, item, verdict in ended]
    return list(copies(context.connection, subscribed, table.interests, said))


def _row(one: PageResult, item: FoundItem, verdict: Verdict) -> dict[str, Any]:
    return {
        "org_id": one.page.org_id,
        "run_id": one.page.run_id,
        "page_id": one.page.id,
        "cost": one.data.cost_cents,
        "marketplace": item.marketplace,
        "item_type": item.item_type,
        "external_id": item.external_id,
        "status": "pending" if verdict.again else verdict.status,
        "attempt": int(verdict.again),
        "data": None if verdict.again else item.data,
        "error_code": None if verdict.again else verdict.error_code,
        "error_message": None if verdict.again else verdict.error_message,
    }


def _repeat(context: HandlerContext, results: Sequence[PageResult]) -> Recorded:
    """Record the results of pages that asked for items again. Items that a result leaves out have failed."""
    again, follow = dict[UUID, list[str]](), list[Event[Any]]()
    taken: list[tuple[UUID, str, int]] = []
    for one, waiting in _waiting(context.connection, results):
        found = {key_of(item): item for item in one.data.items}
        unwanted = unwanted_names(one.page.unwanted)
        for item in waiting:
            answer = found.get(key_of(item))
            left = 0 if one.page.run_has_ended or one.data.status == "failed" else MOST_REPEATS - item.attempt
            verdict = judge(answer, unwanted, left) if answer else missing(one.data)
            taken.append((item.id, "pending" if verdict.again else "processing", item.attempt + verdict.again))
            if verdict.again:
                again.setdefault(one.page.id, []).append(item.external_id)
            else:
                data = answer.data if answer else None
                follow.append(_completed(context, one.page, item, data, verdict, one.cause))
    _take(context.connection, taken)
    return Recorded({}, again, follow)


def give_up(
    context: HandlerContext, pages: Sequence[Asked], code: str, message: str, causes: Causes
) -> list[Event[Any]]:
    """Fail the items that wait for some pages that are not requested any more. Returns the events to publish."""
    single = [page for page in pages if page.external_ids]
    waiting = _waiting_for(context.connection, single)
    follow = [
        _completed(context, page, item, None, Verdict("failed", code, message), causes.get(page.run_id))
        for page in single
        for item in waiting[page.id]
    ]
    _take(context.connection, [(item.id, "processing", item.attempt) for some in waiting.values() for item in some])
    return follow


def _waiting(connection: Connection, results: Sequence[PageResult]) -> list[tuple[PageResult, list[_Waiting]]]:
    found = _waiting_for(connection, [one.page for one in results])
    return [(one, found[one.page.id]) for one in results]


def _waiting_for(connection: Connection, pages: Sequence[Asked]) -> dict[UUID, list[_Waiting]]:
    """Return the items that wait for these pages, by page id."""
    if not pages:
        return {}
    cursor = connection.cursor(row_factory=class_row(_Waiting))
    items = cursor.execute(_WAITING, [[page.root_id for page in pages]]).fetchall()
    return {
        page.id: [
            item for item in items if item.page_id == page.root_id and item.external_id in (page.external_ids or ())
        ]
        for page in pages
    }


def _take(connection: Connection, taken: Sequence[tuple[UUID, str, int]]) -> None:
    if taken:
        connection.execute(_TAKE, [list(column) for column in zip(*taken, strict=True)])


def _completed(
    context: HandlerContext,
    page: Asked,
    item: _New,
    data: dict[str, Any] | None,
    verdict: Verdict,
    cause: Event[Any] | None,
) -> Event[ItemCompleted]:
    said = ItemCompleted(
        run_id=page.run_id,
        marketplace=item.marketplace,
        item_type=item.item_type,  # type: ignore[arg-type]  # the table's CHECK
        external_id=item.external_id,
        status=verdict.status,  # type: ignore[arg-type]  # `again` is no result
        data=data,
        cost_cents=item.cost_cents,
        error_code=verdict.error_code,
        error_message=verdict.error_message,
    )
    event_id = uuid5(page.run_id, "/".join((ItemCompleted.type, *key_of(item))))
    return say(said, context.now, run_id=page.run_id, org_id=page.org_id, cause=cause, event_id=event_id)
