"""The ledger: record which events have been applied, and detect two different events with one id.

An id stands for one combination of type, tenant and data. An event whose id is in the ledger with the same combination
has been applied before. An event whose id is there with another combination is an error of its producer, and is buried
with `ReusedId`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from pydantic import ValidationError
from pydantic_core import to_json

from app.context import Connection
from app.engine.queue.distinct import same_fact
from app.engine.queue.envelope import QueuedEvent
from app.errors import ReusedId
from events import KINDS, Event, InvalidEvent

_LEDGER = """
WITH written AS (
    INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, causation_id, data, occurred_at)
    SELECT e.id, e.type, substring(e.dataschema FROM '\\d+$')::integer, e.tenantid, e.subject, e.causationid, e.data,
           e.time
      FROM jsonb_to_recordset(%s::jsonb)
           AS e (id uuid, type text, dataschema text, tenantid uuid, subject uuid, causationid uuid, data jsonb,
                 time timestamptz)
     ORDER BY e.id -- one order everywhere, so that deliveries of the same events cannot deadlock
    ON CONFLICT DO NOTHING
    RETURNING event_id),
open AS MATERIALIZED ( -- dead letters are locked in the order of their ids, too
    SELECT dead.id FROM written JOIN engine.failed_jobs dead ON dead.event_id = written.event_id
     WHERE dead.resolved_at IS NULL ORDER BY dead.id FOR UPDATE OF dead),
resolved AS (
    UPDATE engine.failed_jobs dead SET resolved_at = now() FROM open WHERE dead.id = open.id)
SELECT count(*), CASE WHEN count(*) < %s THEN array_agg(event_id) END FROM written
"""
# Nearly always all events are new. Their ids are then not returned, because the caller has them.
_OTHER_FACTS = """
SELECT l.event_id, l.type, l.version, l.tenant_id, l.data
  FROM jsonb_to_recordset(%s::jsonb) AS e (id uuid, type text, tenantid uuid, data jsonb)
  JOIN engine.event_log l ON l.event_id = e.id
 WHERE (l.type, l.tenant_id, l.data) IS DISTINCT FROM (e.type, e.tenantid, e.data)
"""
_ENTRIES = "SELECT event_id, type, version, tenant_id, data FROM engine.event_log WHERE event_id = ANY(%s::uuid[])"


@dataclass(frozen=True, slots=True)
class _Entry:
    """The ledger's entry for an id."""

    event_id: UUID
    type: str
    version: int
    tenant_id: UUID | None
    data: Any


def enter(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[Event[Any]]:
    """Enter events into the ledger. Returns those that were not there: the events that this transaction applies.

    Of several events with one id the first is entered. The open dead letter of an entered event is resolved.
    """
    readable = first_of_each(queued_events)
    if not readable:
        return []
    text = to_json([queued.raw for queued in readable.values()]).decode()
    count, fresh = connection.execute(_LEDGER, [text, len(readable)]).fetchone() or (0, None)
    if count == len(readable):
        return [queued.event for queued in readable.values()]  # type: ignore[misc]
    new = set(fresh or ())
    return [queued.event for event_id, queued in readable.items() if event_id in new]  # type: ignore[misc]


def first_of_each(queued_events: Iterable[QueuedEvent]) -> dict[UUID, QueuedEvent]:
    """Return the readable events by id, in the order of the list; of several with one id, the first."""
    readable = [queued for queued in queued_events if isinstance(queued.event, Event)]
    found = {queued.event.id: queued for queued in readable if isinstance(queued.event, Event)}
    if len(found) == len(readable):
        return found
    found.clear()
    for queued in readable:
        if isinstance(queued.event, Event):
            found.setdefault(queued.event.id, queued)
    return found


def reused(
    connection: Connection, queued_events: Sequence[QueuedEvent], fresh: Iterable[Event[Any]]
) -> list[QueuedEvent]:
    """Return the events whose id belongs to a different event: in the ledger or, if new there, earlier in the list.

    `fresh`: the events of the list that `enter()` has added. They need no query.
    """
    first = first_of_each(queued_events)
    new = {event.id for event in fresh}
    known = [queued for queued in queued_events if isinstance(queued.event, Event) and queued.event.id not in new]
    entries = _other_facts(connection, known)
    return [
        queued
        for queued in queued_events
        if isinstance(event := queued.event, Event)
        and (_differ(first[event.id].event, event) if event.id in new else _differs(entries.get(event.id), event))
    ]


def other_facts(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[QueuedEvent]:
    """Return the events whose id the ledger has for a different event. Unreadable events are compared as JSON."""
    unreadable = [queued for queued in queued_events if not isinstance(queued.event, Event) and queued.event_id]
    found = reused(connection, queued_events, fresh=())
    if unreadable:
        ids = [queued.event_id for queued in unreadable]
        cursor = connection.cursor(row_factory=class_row(_Entry))
        entries: dict[UUID | None, _Entry] = {entry.event_id: entry for entry in cursor.execute(_ENTRIES, [ids])}
        found += [one for one in unreadable if (entry := entries.get(one.event_id)) and _is_other(entry, one.raw)]
    return found


def refusal(queued: QueuedEvent) -> ReusedId:
    """Return the error with which an event of `reused()` is buried."""
    kind = queued.event.type if isinstance(queued.event, Event) else "event"
    return ReusedId(
        f"{kind} {queued.event_id}: another event with this id, and with other data, was applied; give each event an id"
        " of its own (follow() takes a key), and `dead edit` this one to publish it under a new id"
    )


def _other_facts(connection: Connection, queued_events: Sequence[QueuedEvent]) -> dict[UUID, _Entry]:
    if not queued_events:
        return {}
    text = to_json([queued.raw for queued in queued_events]).decode()
    return {e.event_id: e for e in connection.cursor(row_factory=class_row(_Entry)).execute(_OTHER_FACTS, [text])}


def _differ(one: object, other: Event[Any]) -> bool:
    return one is not other and isinstance(one, Event) and not same_fact(one, other)


def _differs(entry: _Entry | None, event: Event[Any]) -> bool:
    """Whether an entry with other data is a different event, not the same one in another version or with defaults."""
    if entry is None:
        return False
    if (entry.type, entry.tenant_id) != (event.type, event.tenantid):
        return True
    kind = KINDS[event.type]
    try:
        return bool(kind.payload.model_validate(kind.upcast(entry.version, entry.data)) != event.data)
    except (ValidationError, InvalidEvent):
        return True


def _is_other(entry: _Entry, raw: Any) -> bool:
    tenant = None if entry.tenant_id is None else str(entry.tenant_id)
    return (entry.type, tenant, entry.data) != (raw.get("type"), raw.get("tenantid"), raw.get("data"))
