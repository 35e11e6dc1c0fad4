"""The laws of cancelled orders: they stay cancelled, and no call for one begins after the cancel.

A robot checks right before a call whether the order is cancelled. A call that passed this check may still reach the
portal, and the order then keeps its tracking number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from app.chaos.fault_context import Freeze
from app.chaos.model import Model
from app.chaos.portal_laws import Entry, is_late_call
from app.chaos.report import Violation
from app.context import Connection

IN_FLIGHT = timedelta(seconds=5)
"""Longest time from a robot's check of the order to the arrival of its call: milliseconds on an idle machine, more on
a busy one."""

_NOT_CANCELLED = """
SELECT id, status FROM logistics.orders WHERE id = ANY(%s) AND status <> 'cancelled' ORDER BY id
"""
_ORDERS = "SELECT id, order_id FROM logistics.robot_job_items WHERE order_id = ANY(%s)"


def check(
    connection: Connection, model: Model, entries: Sequence[Entry], freezes: Sequence[Freeze]
) -> Iterator[Violation]:
    """Check the orders with a committed cancel against the database and the portals' records."""
    wanted = list(model.cancelled)
    for order_id, status in connection.execute(_NOT_CANCELLED, [wanted]):
        yield Violation("a cancelled order stays cancelled", f"order {order_id} is {status}")
    order_of = dict(connection.execute(_ORDERS, [wanted]).fetchall())
    yield from _entered(model, [entry for entry in entries if entry.item_id in order_of], order_of, freezes)


def _entered(
    model: Model, entries: Iterable[Entry], order_of: Mapping[UUID, UUID], freezes: Sequence[Freeze]
) -> Iterator[Violation]:
    for entry in entries:
        cancelled = model.cancelled[order_of[entry.item_id]]
        if not cancelled.is_begun:
            yield Violation("an order that was cancelled before a robot began it is not entered", f"{entry}")
        elif entry.began_at > cancelled.at + IN_FLIGHT and not any(is_late_call(entry, one) for one in freezes):
            late = (entry.began_at - cancelled.at).total_seconds()
            yield Violation("no call for a cancelled order begins", f"{entry} began {late:.1f} s after the cancel")
