"""Reused ids: find events whose id belongs to a different event.

An id stands for one combination of type, tenant and data: that of its entry in the ledger, or of its open dead letter.
An event with the same combination is a copy. An event with another combination is an error of its producer, and is
buried with `ReusedId`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import class_row
from pydantic import ValidationError
from pydantic_core import to_json

from app.context import Connection
from app.engine.queue.distinct import same_fact
from app.engine.queue.envelope import QueuedEvent
from app.errors import ReusedId
from events import KINDS, Event, InvalidEvent, parse_all

# The data as JSON can differ between copies: another version, or a default that is written out. Callers compare again.
_OTHER_FACTS = """
SELECT l.event_id, 'applied' AS place, l.type, l.version, l.tenant_id::text AS tenant, l.data, NULL::jsonb AS raw
  FROM jsonb_to_recordset(%(events)s::jsonb) AS e (id uuid, type text, tenantid uuid, data jsonb)
  JOIN engine.event_log l ON l.event_id = e.id
 WHERE (l.type, l.tenant_id, l.data) IS DISTINCT FROM (e.type, e.tenantid, e.data)
UNION ALL
SELECT f.event_id, 'dead', f.event_data ->> 'type', 0, f.event_data ->> 'tenantid', f.event_data -> 'data', f.event_data
  FROM jsonb_to_recordset(%(events)s::jsonb) AS e (id uuid, type text, tenantid uuid, data jsonb)
  JOIN engine.failed_jobs f ON f.event_id = e.id AND f.resolved_at IS NULL
 WHERE (f.event_data ->> 'type', f.event_data ->> 'tenantid', f.event_data -> 'data')
       IS DISTINCT FROM (e.type, e.tenantid::text, e.data)
"""
_OWNERS = """
SELECT event_id, 'applied' AS place, type, version, tenant_id::text AS tenant, data, NULL::jsonb AS raw
  FROM engine.event_log WHERE event_id = ANY(%(ids)s::uuid[])
UNION ALL
SELECT event_id, 'dead', event_data ->> 'type', 0, event_data ->> 'tenantid', event_data -> 'data', event_data
  FROM engine.failed_jobs WHERE event_id = ANY(%(ids)s::uuid[]) AND resolved_at IS NULL
UNION ALL
SELECT event_id, 'held', held ->> 'type', 0, held ->> 'tenantid', held -> 'data', held
  FROM engine.sequence WHERE event_id = ANY(%(ids)s::uuid[]) AND held IS NOT NULL
"""

_WHERE = {
    "applied": "was applied",
    "dead": "is a dead letter (`dead show {id}`)",
    "held": "waits for its turn",
    "beside": "was delivered with it and comes first",
}
Place = Literal["applied", "dead", "held", "beside"]
"""Where the event is to which an id belongs. `beside`: earlier in the same delivery."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """The event to which an id belongs. `raw`: the whole event, if it is dead or held; None for the ledger's entry."""

    event_id: UUID
    place: Place
    type: str | None
    version: int
    tenant: str | None
    data: Any
    raw: Any


@dataclass(frozen=True, slots=True)
class Reuse:
    """An event whose id belongs to a different event, and where that one is."""

    queued: QueuedEvent
    place: Place

    @property
    def error(self) -> ReusedId:
        """The error with which the event is buried."""
        kind = self.queued.event.type if isinstance(self.queued.event, Event) else "event"
        where = _WHERE[self.place].format(id=self.queued.event_id)
        return ReusedId(
            f"{kind} {self.queued.event_id}: another event with this id, and with other data, {where}; give each event"
            " an id of its own (follow() takes a key), and `dead edit` this one to publish it under a new id"
        )


def find(connection: Connection, queued_events: Sequence[QueuedEvent], fresh: Iterable[Event[Any]]) -> list[Reuse]:
    """Return the readable events of the list whose id belongs to a different event.

    `fresh`: the events of the list to which their ids belong from now on. They need no query.
    """
    new = {event.id: event for event in fresh}
    known = [queued for queued in queued_events if isinstance(queued.event, Event) and queued.event.id not in new]
    owners = _other_facts(connection, known)
    found = []
    for queued in queued_events:
        event = queued.event
        if not isinstance(event, Event):
            continue
        if event.id in new:
            if new[event.id] is not event and not same_fact(new[event.id], event):
                found.append(Reuse(queued, "beside"))
        elif (owner := owners.get(event.id)) and _differs(owner, queued):
            found.append(Reuse(queued, owner.place))
    return found


def compare(connection: Connection, queued_events: Sequence[QueuedEvent]) -> tuple[list[Reuse], set[UUID]]:
    """Return the events whose id belongs to a different event, and the ids that belong to the same event.

    An id that belongs to no event belongs to the first in the list. Unreadable events are compared as JSON.
    """
    ids = [queued.event_id for queued in queued_events if queued.event_id]
    owners = _by_id(connection.cursor(row_factory=class_row(_Owner)).execute(_OWNERS, {"ids": ids}))
    first: dict[UUID, QueuedEvent] = {}
    found, copies = [], set()
    for queued in queued_events:
        if (event_id := queued.event_id) is None:
            continue
        if (owner := owners.get(event_id)) is None:
            if _differ(first.setdefault(event_id, queued), queued):
                found.append(Reuse(queued, "beside"))
        elif _differs(owner, queued):
            found.append(Reuse(queued, owner.place))
        else:
            copies.add(event_id)
    return found, copies


def differs_from_letter(raw: Any, queued: QueuedEvent) -> bool:
    """Whether an open dead letter with the event's id holds a different event. `raw`: the letter's event."""
    (dead,) = parse_all([raw])
    return _differ(QueuedEvent(0, 0, raw, dead), queued)


def _facts(raw: Any) -> list[Any]:
    return [raw.get(name) for name in ("type", "tenantid", "data")] if isinstance(raw, dict) else [raw]


def _other_facts(connection: Connection, queued_events: Sequence[QueuedEvent]) -> dict[UUID, _Owner]:
    if not queued_events:
        return {}
    text = to_json([queued.raw for queued in queued_events]).decode()
    return _by_id(connection.cursor(row_factory=class_row(_Owner)).execute(_OTHER_FACTS, {"events": text}))


def _by_id(owners: Iterable[_Owner]) -> dict[UUID, _Owner]:
    """Return the owners by id. The ledger decides before a dead letter, and that before a held event."""
    return {owner.event_id: owner for owner in sorted(owners, key=lambda owner: owner.place, reverse=True)}


def _differ(one: QueuedEvent, other: QueuedEvent) -> bool:
    if isinstance(one.event, Event) and isinstance(other.event, Event):
        return one.event is not other.event and not same_fact(one.event, other.event)
    return _facts(one.raw) != _facts(other.raw)


def _differs(owner: _Owner, queued: QueuedEvent) -> bool:
    """Whether an owner is a different event, not the same one in another version or with defaults."""
    event = queued.event
    if [owner.type, owner.tenant, owner.data] == _facts(queued.raw):
        return False
    if owner.raw is not None:
        return differs_from_letter(owner.raw, queued)
    if not isinstance(event, Event) or (owner.type, owner.tenant) != (
        event.type,
        event.tenantid and str(event.tenantid),
    ):
        return True
    kind = KINDS[event.type]
    try:
        return bool(kind.payload.model_validate(kind.upcast(owner.version, owner.data)) != event.data)
    except (ValidationError, InvalidEvent):
        return True
