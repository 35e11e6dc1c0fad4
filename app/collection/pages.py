"""Pages of runs: insert, request, lock and write them.

    pending → processing   reserved, and the call may be made
    processing → completed, failed   settled
    processing → pending   released: nothing was charged
    pending → cancelled    its run has ended

Lock order: runs by id, then pages by id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from pydantic_core import to_json

from app.collection import page_ids
from app.collection.chain import say
from app.context import Connection
from events import Event
from events.collection import PageRequested

_OPEN = frozenset({"pending", "processing"})
_GONE = frozenset({"completed", "failed", "cancelled"})

_INSERT_FIRST = """
INSERT INTO collection.collection_pages (id, org_id, run_id, category_id, number, price_cents)
SELECT page.id, %(org_id)s, %(run_id)s, page.category_id, 1, page.price_cents
  FROM unnest(%(ids)s::uuid[], %(categories)s::text[], %(prices)s::integer[]) AS page (id, category_id, price_cents)
    ON CONFLICT DO NOTHING
"""
_ASKED: LiteralString = "id, org_id, run_id, category_id, cursor, attempt, price_cents, external_ids"
_REQUEST_PENDING: LiteralString = f"""
WITH requested AS (
    UPDATE collection.collection_pages SET attempt = attempt + 1
     WHERE run_id = ANY(%s) AND status = 'pending'
    RETURNING {_ASKED}, number)
SELECT {_ASKED} FROM requested ORDER BY run_id, category_id, number, id
"""  # noqa: S608 - constants
_CANCEL_PENDING: LiteralString = f"""
UPDATE collection.collection_pages SET status = 'cancelled', completed_at = statement_timestamp()
 WHERE run_id = ANY(%s) AND status = 'pending'
RETURNING {_ASKED}
"""  # noqa: S608 - constants
_PAGES: LiteralString = """
SELECT p.id, p.org_id, p.run_id, p.category_id, p.cursor, p.number, p.external_ids, p.status, p.attempt, p.price_cents,
       p.reserved_cents, p.started_at IS NOT NULL AS was_begun, run.status AS run_status, run.overrun_cents,
       run.unwanted
"""
# The CTE locks the runs in the order of their ids. Then the pages are locked, in the order of theirs.
_LOCK: LiteralString = f"""
WITH run AS MATERIALIZED (
    SELECT r.id, r.status, r.overrun_cents, r.unwanted
      FROM collection.collection_runs r
     WHERE r.id IN (SELECT p.run_id FROM collection.collection_pages p WHERE p.id = ANY(%(ids)s))
     ORDER BY r.id
       FOR NO KEY UPDATE)
{_PAGES}
  FROM collection.collection_pages p
  JOIN run ON run.id = p.run_id
 WHERE p.id = ANY(%(ids)s)
 ORDER BY p.id
   FOR NO KEY UPDATE OF p
"""  # noqa: S608 - a constant
_FIND: LiteralString = f"""{_PAGES}
  FROM collection.collection_pages p JOIN collection.collection_runs run ON run.id = p.run_id WHERE p.id = ANY(%(ids)s)
"""
_WRITE = """
WITH settled AS (
    UPDATE collection.collection_pages p
       SET status = said.status, attempt = said.attempt, reserved_cents = 0, cost_cents = said.cost_cents,
           next_cursor = said.next_cursor, error_code = said.error_code, error_message = said.error_message,
           completed_at = CASE WHEN said.status <> 'pending' THEN statement_timestamp() END
      FROM jsonb_to_recordset(%(outcomes)s::jsonb)
           AS said (page_id uuid, status text, attempt integer, cost_cents integer, next_cursor text, error_code text,
                    error_message text)
     WHERE p.id = said.page_id)
INSERT INTO collection.collection_pages
       (id, org_id, run_id, category_id, cursor, number, external_ids, attempt, price_cents)
SELECT id, org_id, run_id, category_id, cursor, number, external_ids, attempt, price_cents
  FROM jsonb_to_recordset(%(added)s::jsonb)
       AS page (id uuid, org_id uuid, run_id uuid, category_id text, cursor text, number integer, external_ids text[],
                attempt integer, price_cents integer)
    ON CONFLICT DO NOTHING
RETURNING id
"""
_FLAG = "UPDATE collection.collection_pages SET error_code = %s, error_message = %s WHERE id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Asked:
    """The part of a page that its request needs. `external_ids`: the items to ask for again; None: a whole page."""

    id: UUID
    org_id: UUID
    run_id: UUID
    category_id: str
    cursor: str
    attempt: int
    price_cents: int
    external_ids: list[str] | None

    @property
    def root_id(self) -> UUID:
        """The id of the category's page on which the items were found: of an items page, not its own id."""
        return page_ids.page_id(self.run_id, self.category_id, self.cursor)


@dataclass(frozen=True, slots=True)
class Added(Asked):
    """A new page. `number`: its place in the category, or how often its items were asked for again."""

    number: int


@dataclass(frozen=True, slots=True)
class Page(Added):
    """A page with the state of its run. `was_begun`: its call has begun at least once, in any attempt."""

    status: str
    reserved_cents: int
    was_begun: bool
    run_status: str
    overrun_cents: int
    unwanted: list[str]

    @property
    def is_open(self) -> bool:
        """Whether the page waits for a result."""
        return self.status in _OPEN

    @property
    def run_has_ended(self) -> bool:
        """Whether the run is completed, failed or cancelled."""
        return self.run_status in _GONE

    def next(self, cursor: str) -> Added:
        """Return the next page of the category, which begins at `cursor`."""
        new_id = page_ids.page_id(self.run_id, self.category_id, cursor)
        return Added(
            new_id, self.org_id, self.run_id, self.category_id, cursor, 1, self.price_cents, None, self.number + 1
        )

    def again(self, external_ids: Sequence[str]) -> Added:
        """Return the page that asks once more for items of this page."""
        number = self.number + 1 if self.external_ids else 1
        ids = list(external_ids)
        return Added(
            page_ids.items_page_id(self.root_id, number),
            self.org_id,
            self.run_id,
            self.category_id,
            self.cursor,
            1,
            self.price_cents,
            ids,
            number,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a locked page."""

    page_id: UUID
    status: str
    attempt: int
    cost_cents: int = 0
    next_cursor: str | None = None
    error_code: str | None = None
    error_message: str | None = None


def insert_first(connection: Connection, run_id: UUID, org_id: UUID, prices: Mapping[str, int]) -> None:
    """Insert the first page of each category of a locked run. `prices`: cents for a page, by category.

    Pages that exist stay as they are. `request_pending()` requests the pages.
    """
    values = {
        "run_id": run_id,
        "org_id": org_id,
        "ids": [page_ids.page_id(run_id, category_id, "") for category_id in prices],
        "categories": list(prices),
        "prices": list(prices.values()),
    }
    connection.execute(_INSERT_FIRST, values)


def request_pending(connection: Connection, now: datetime, run_ids: Collection[UUID]) -> list[Event[PageRequested]]:
    """Begin the next attempt of all pending pages of locked, running runs. Returns the requests to publish.

    Requests of earlier attempts become late. A run without open pages and items is complete: call `budget.finish()`.
    """
    if not run_ids:
        return []
    cursor = connection.cursor(row_factory=class_row(Asked))
    return [request(page, now) for page in cursor.execute(_REQUEST_PENDING, [sorted(run_ids)]).fetchall()]


def request(page: Asked, now: datetime, cause: Event[Any] | None = None, attempt: int | None = None) -> Event[Any]:
    """Return the request of a page's current attempt, or of `attempt`."""
    number = page.attempt if attempt is None else attempt
    said = PageRequested(
        run_id=page.run_id,
        page_id=page.id,
        category_id=page.category_id,
        cursor=page.cursor,
        attempt=number,
        cost_cents=page.price_cents,
        external_ids=None if page.external_ids is None else tuple(page.external_ids),
    )
    event_id = page_ids.request_id(page.id, number)
    return say(said, now, run_id=page.run_id, org_id=page.org_id, cause=cause, event_id=event_id)


def lock(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Page]:
    """Lock pages and their runs until the transaction ends. Returns the pages by id; unknown ids are left out."""
    rows = connection.cursor(row_factory=class_row(Page)).execute(_LOCK, {"ids": sorted(ids)})
    return {page.id: page for page in rows}


def find(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Page]:
    """Return pages by id, without locks; unknown ids are left out."""
    rows = connection.cursor(row_factory=class_row(Page)).execute(_FIND, {"ids": sorted(ids)})
    return {page.id: page for page in rows}


def write(connection: Connection, outcomes: Sequence[Outcome], added: Sequence[Added]) -> set[UUID]:
    """Write the outcomes of locked pages, and insert new pages. Returns the ids of the pages that did not exist."""
    texts = {"outcomes": to_json(outcomes).decode(), "added": to_json(added).decode()}
    return set(connection.cursor(row_factory=scalar_row).execute(_WRITE, texts))


def flag(connection: Connection, ids: Sequence[UUID], error_code: str, error_message: str) -> None:
    """Set the error of pages that stay as they are otherwise."""
    connection.execute(_FLAG, [error_code, error_message, list(ids)])


def cancel_pending(connection: Connection, run_ids: Collection[UUID]) -> list[Asked]:
    """Cancel the pending pages of locked runs. Returns the cancelled pages."""
    return connection.cursor(row_factory=class_row(Asked)).execute(_CANCEL_PENDING, [sorted(run_ids)]).fetchall()
