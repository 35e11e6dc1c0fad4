"""Concurrency limits: slots bound how many calls of one kind run at once over all workers.

A slot belongs to a delivery. It is free as soon as the delivery's queue row is finished, put back or rescued, so a
crashed worker holds slots only until its deliveries are rescued. A row that finds all slots taken is parked: it waits
outside the queue (`put_back` with a limit). The delivery that frees a slot moves the longest parked row into the queue,
and keeps the slot for it: no other delivery takes it before that row is fetched, for ten seconds at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.context import Connection
from app.engine.domain import ConcurrencyLimit
from app.engine.queue.lease import Delivery

PARKED_S = 300.0
"""Seconds after which a parked row becomes due by itself, in case the delivery that should wake it crashed."""

_TAKE = "SELECT engine.take_slots(%s, %s, %s, %s, %s, %s)"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('engine.slots/' || %s, 0))"
# One index look-up for each distinct key, because a million rows may be parked for one of them. An older version parked
# rows in a separate table.
_PARKED_LIMITS = """
WITH RECURSIVE first AS (
    (SELECT key, most FROM engine.delayed WHERE key IS NOT NULL ORDER BY key, id LIMIT 1)
    UNION ALL
    SELECT next.key, next.most FROM first, LATERAL (
           SELECT key, most FROM engine.delayed d WHERE d.key > first.key ORDER BY d.key, d.id LIMIT 1) next
)
SELECT key, max(most) FROM (TABLE first UNION ALL SELECT key, most FROM engine.parked) parked GROUP BY key ORDER BY key
"""
_WAKE = """
SELECT engine.wake_parked(%(key)s, %(most)s)
 WHERE NOT EXISTS (SELECT FROM engine.rests r WHERE r.key = %(key)s AND r.until > clock_timestamp())
"""


def take(
    connection: Connection, delivery: Delivery, wanted: Mapping[ConcurrencyLimit, int]
) -> dict[ConcurrencyLimit, int]:
    """Set the number of slots that a delivery holds of each limit, up to `wanted`. Returns how many it holds.

    The number can grow or shrink. Limits are locked in order, so that two deliveries cannot deadlock. Until the
    transaction ends no other session takes slots of these limits, parks for them, or wakes for them.
    """
    return {limit: _take(connection, delivery, limit, wanted[limit]) for limit in sorted(wanted)}


def lock_limits(connection: Connection, limits: Iterable[ConcurrencyLimit]) -> None:
    """Lock limits until the transaction ends. Limits are first in the lock order, before rows."""
    for limit in sorted(limits):
        connection.execute(_LOCK, [limit.key])


def wake_parked(connection: Connection, limit: ConcurrencyLimit) -> None:
    """Make the longest parked row due and keep a slot for it, if the limit has a free one and is not cooling down."""
    connection.execute(_WAKE, {"key": limit.key, "most": limit.most})


def wake_all(connection: Connection) -> None:
    """Wake a row for every limit with parked rows. Covers slots freed by crashed deliveries."""
    for key, most in connection.execute(_PARKED_LIMITS).fetchall():
        with connection.transaction():
            wake_parked(connection, ConcurrencyLimit(key, most))


def _take(connection: Connection, delivery: Delivery, limit: ConcurrencyLimit, count: int) -> int:
    lease = (delivery.row_id, delivery.attempts, delivery.worker_id)
    row = connection.execute(_TAKE, [limit.key, limit.most, count, *lease]).fetchone()
    return int(row[0]) if row else 0
