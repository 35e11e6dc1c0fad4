"""Places: at most `max_concurrent_runs` runs of an organisation are running. The others wait, and start oldest first.

`start_waiting` is the only function that increases the number of running runs. It counts them under the lock of the
organisation's row in `collection.places`, so concurrent starts never take the same place. No count is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import scalar_row

from app.collection import budget, pages, rules, store
from app.context import Connection, HandlerContext
from events import Event

_ADD = """
INSERT INTO collection.places (org_id) SELECT o.id FROM tenancy.orgs o WHERE o.id = ANY(%s) ORDER BY o.id
    ON CONFLICT (org_id) DO NOTHING
"""
_LOCK = "SELECT FROM collection.places WHERE org_id = ANY(%s) ORDER BY org_id FOR NO KEY UPDATE"
# The oldest waiting runs of each organisation, as many as it has free places.
_NEXT = """
SELECT waiting.id
  FROM unnest(%(orgs)s::uuid[]) o (id)
  LEFT JOIN collection.collection_settings s ON s.org_id = o.id
 CROSS JOIN LATERAL (
       SELECT r.id FROM collection.collection_runs r
        WHERE r.org_id = o.id AND (r.status = 'pending' OR (r.status = 'paused' AND r.pause_reason = 'place'))
        ORDER BY r.created_at, r.id
        LIMIT greatest(0, coalesce(s.max_concurrent_runs, %(default)s)
                          - (SELECT count(*) FROM collection.collection_runs running
                              WHERE running.org_id = o.id AND running.status = 'running'))) waiting
"""


def lock(connection: Connection, org_ids: Iterable[UUID]) -> list[UUID]:
    """Lock the places of organisations until the transaction ends. Returns the runs that may start now, by id.

    Lock order: places come before runs.
    """
    orgs = sorted(set(org_ids))
    if not orgs:
        return []
    connection.execute(_ADD, [orgs])
    connection.execute(_LOCK, [orgs])
    return startable(connection, orgs)


def startable(connection: Connection, org_ids: Sequence[UUID]) -> list[UUID]:
    """Return the runs of organisations that may start now, by id. Without the lock, only a forecast."""
    wanted = {"orgs": list(org_ids), "default": rules.CONCURRENT_RUNS}
    return connection.cursor(row_factory=scalar_row).execute(_NEXT, wanted).fetchall()


def start_waiting(context: HandlerContext, org_ids: Iterable[UUID]) -> list[Event[Any]]:
    """Start the oldest waiting runs of organisations while there are free places.

    Returns the events to publish: the requests of their pages, and the end of runs that have nothing left to do.
    """
    connection = context.connection
    waiting = [run for run in store.lock_runs(connection, lock(connection, org_ids)) if run.is_waiting]
    if not waiting:
        return []
    started = store.start(connection, [run.id for run in waiting])
    for run in waiting:
        if run.status == "pending":
            prices = {category_id: one["price_cents"] for category_id, one in run.estimate.items()}
            pages.insert_first(connection, run.id, run.org_id, prices)
    requested = pages.request_pending(connection, context.now, started)
    return [*requested, *budget.finish(context, started)]
