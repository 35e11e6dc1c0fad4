"""Slots: how many things of one kind run at once over all workers.

A slot belongs to a delivery and is free again the moment that delivery's queue row is finished, put back or rescued:
a worker that dies holds nothing for longer than its deliveries. A row that finds every slot taken is parked; whoever
gives a slot up wakes the one that has been parked for longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.context import Connection
from app.engine.delivery import Delivery
from app.engine.registry import Lane

PARKED_S = 300.0
"""Seconds after which a parked row looks for itself, should the delivery that was to wake it have died."""

_TAKE = "SELECT engine.take_slots(%s, %s, %s, %s, %s, %s)"
_PARK = "INSERT INTO engine.parked (row_id, key) SELECT row_id, %s FROM unnest(%s::bigint[]) AS waiting (row_id)"
_WAKE = "SELECT engine.wake_parked(%s, %s)"


def take(connection: Connection, delivery: Delivery, wanted: Mapping[Lane, int]) -> dict[Lane, int]:
    """Hold up to so many slots of each lane for a delivery, more or fewer than before; returns how many it has.

    Lanes are taken in their order, so that two deliveries that want the same ones cannot wait for each other. Until
    the transaction ends nobody else takes slots of these lanes, parks for them, or wakes for them.
    """
    return {lane: _take(connection, delivery, lane, wanted[lane]) for lane in sorted(wanted)}


def park(connection: Connection, lane: Lane, row_ids: Sequence[int]) -> None:
    """Note that queue rows wait for a slot of a lane that the same transaction has found full."""
    connection.execute(_PARK, [lane.key, list(row_ids)])


def wake_parked(connection: Connection, lane: Lane) -> None:
    """Make the row that has been parked for longest due, if the lane has a free slot."""
    connection.execute(_WAKE, [lane.key, lane.most])


def _take(connection: Connection, delivery: Delivery, lane: Lane, count: int) -> int:
    lease = (delivery.row_id, delivery.attempts, delivery.worker_id)
    row = connection.execute(_TAKE, [lane.key, lane.most, count, *lease]).fetchone()
    return int(row[0]) if row else 0
