"""Traces: the references under which an order may already be in a carrier's portal.

They are read from the items, not from the event. So they are complete for any request: an edited copy, a producer's own
event, a retry, or a request of another job with the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.batches.rows import ItemState
from app.engine.effects.calls import in_hand
from app.errors import Busy
from app.logistics import elsewhere, rules
from app.logistics.elsewhere import Elsewhere
from app.settings import settings

# Other items with the same order and carrier that did not succeed and whose call may have been made. An item that
# failed with `validation` at its first attempt was never called.
_OTHERS = """
SELECT own.id AS item_id, other.id AS other_id, other.retry_count AS attempt,
       CASE WHEN other.status = 'processing' THEN 0 ELSE least(%(grace_period)s, greatest(0, %(grace_period)s - extract(
            epoch FROM clock_timestamp() - greatest(other.completed_at, other.last_retry_at)))) END::double precision
       AS grace_left
  FROM logistics.robot_job_items own
  JOIN logistics.robot_jobs job ON job.id = own.job_id
  JOIN logistics.robot_job_items other ON other.order_id = own.order_id AND other.id <> own.id
  JOIN logistics.robot_jobs other_job ON other_job.id = other.job_id AND other_job.carrier = job.carrier
 WHERE own.id = ANY(%(items)s) AND other.status <> 'success'
   AND (other.status = 'processing' OR other.retry_count > 0
        OR other.status = 'error' AND other.error_type <> 'validation')
 ORDER BY own.id, other.id
"""


@dataclass(frozen=True, slots=True)
class Other:
    """Another item of the same order. `grace_left`: seconds to wait before the portal may be asked about it."""

    item_id: UUID
    other_id: UUID
    attempt: int
    grace_left: float


@dataclass(frozen=True, slots=True)
class Traces:
    """References to ask a portal for, the item's own first.

    `may_be_there`: a call may have been made under one of them. `keys`: keys of other calls that may be in progress,
    without the item's current attempt. `grace_left`: seconds to wait before the portal may be asked. `elsewhere`: why
    the order must not be entered unless the portal has it, because another carrier may have it; else None.
    """

    references: list[str]
    may_be_there: bool
    keys: list[UUID]
    grace_left: float
    elsewhere: str | None = None


def find(connection: Connection, items: Iterable[ItemState]) -> dict[UUID, Traces]:
    """Return the traces of items, by the item's id. `items`: their states before the caller began them."""
    by_id = {item.id: item for item in items}
    wanted = {"items": list(by_id), "grace_period": settings().portal_settle}
    others: dict[UUID, list[Other]] = {}
    for other in connection.cursor(row_factory=class_row(Other)).execute(_OTHERS, wanted):
        others.setdefault(other.item_id, []).append(other)
    carriers = elsewhere.of_items(connection, by_id)
    return {item.id: _traces(item, others.get(item.id, []), carriers.get(item.id, [])) for item in by_id.values()}


def refuse_in_grace_period(connection: Connection, found: Iterable[Traces]) -> None:
    """Raise `Busy` while another call for one of the orders is in progress or in its grace period.

    Such calls belong to earlier attempts of an item that was ended by hand and requested again, or to other items of
    the order, also at other carriers.
    """
    all_ = list(found)
    keys = [key for traces in all_ for key in traces.keys]
    if keys and in_hand(connection, keys, settings().portal_settle):
        raise Busy("another attempt at the order is under way, or the portal may not be asked about it yet")
    if wait := max((traces.grace_left for traces in all_), default=0.0):
        raise Busy("another attempt at the order failed a moment ago: the portal may not be asked yet", delay=wait)


def _traces(item: ItemState, others: Sequence[Other], carriers: Sequence[Elsewhere]) -> Traces:
    references = rules.references(item.id, item.retry_count)
    keys = [rules.request_id(item.id, n) for n in range(item.retry_count)]
    for other in others:
        references += rules.references(other.other_id, other.attempt)
        keys += [rules.request_id(other.other_id, n) for n in range(other.attempt + 1)]
    keys += [key for other in carriers for key in other.keys]
    may_be_there = bool(others) or item.status == "processing" or item.retry_count > 0
    grace_left = max((other.grace_left for other in others), default=0.0)
    return Traces(references, may_be_there, keys, grace_left, carriers[0].sentence if carriers else None)
