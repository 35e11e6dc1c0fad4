"""Slots: how many things of one kind run at once over all workers.

A slot belongs to a delivery and is free again the moment that delivery's queue row is finished, put back or rescued:
a worker that dies holds nothing for longer than its deliveries. A row that finds every slot taken is parked: it waits
outside the queue (`put_back` with a lane), and the delivery that frees a slot moves the one that has been parked for
longest into the queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.context import Connection
from app.engine.domain import Lane
from app.engine.queue.lease import Delivery

PARKED_S = 300.0
"""Seconds after which a parked row looks for itself, should the delivery that was to wake it have died."""

_TAKE = "SELECT engine.take_slots(%s, %s, %s, %s, %s, %s)"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('engine.slots/' || %s, 0))"
# The distinct keys of the index, one look-up each: a million rows may be parked for one of them. An older version
# parked rows in a table of its own.
_LANES = """
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


def take(connection: Connection, delivery: Delivery, wanted: Mapping[Lane, int]) -> dict[Lane, int]:
    """Hold up to so many slots of each lane for a delivery, more or fewer than before; returns how many it has.

    Lanes are taken in their order, so that two deliveries that want the same ones cannot wait for each other. Until
    the transaction ends nobody else takes slots of these lanes, parks for them, or wakes for them.
    """
    return {lane: _take(connection, delivery, lane, wanted[lane]) for lane in sorted(wanted)}


def lock(connection: Connection, lanes: Iterable[Lane]) -> None:
    """Be alone with some lanes until the transaction ends. Every transaction takes lanes first, before its rows."""
    for lane in sorted(lanes):
        connection.execute(_LOCK, [lane.key])


def wake_parked(connection: Connection, lane: Lane) -> None:
    """Make the row that has been parked for longest due, if the lane has a free slot and does not rest."""
    connection.execute(_WAKE, {"key": lane.key, "most": lane.most})


def wake_all(connection: Connection) -> None:
    """Wake for every lane that has rows parked: for slots that were freed by a delivery that could not wake anybody."""
    for key, most in connection.execute(_LANES).fetchall():
        with connection.transaction():
            wake_parked(connection, Lane(key, most))


def _take(connection: Connection, delivery: Delivery, lane: Lane, count: int) -> int:
    lease = (delivery.row_id, delivery.attempts, delivery.worker_id)
    row = connection.execute(_TAKE, [lane.key, lane.most, count, *lease]).fetchone()
    return int(row[0]) if row else 0
