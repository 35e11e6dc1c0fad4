"""The ledger: record which events have been applied.

An event whose id is in the ledger is applied already, or is a different event that reuses the id (`reused`). So is an
event whose id an open dead letter has: a copy of the dead event resolves the letter, a different event is not entered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json

from app.context import Connection
from app.engine.delivery.reused import differs_from_letter
from app.engine.queue.envelope import QueuedEvent
from events import Event

_LEDGER = """
WITH written AS (
    INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, causation_id, data, occurred_at)
    SELECT e.id, e.type, substring(e.dataschema FROM '\\d+$')::integer, e.tenantid, e.subject, e.causationid, e.data,
           e.time
      FROM jsonb_to_recordset(%(events)s::jsonb)
           AS e (id uuid, type text, dataschema text, tenantid uuid, subject uuid, causationid uuid, data jsonb,
                 time timestamptz)
     ORDER BY e.id -- one order everywhere, so that deliveries of the same events cannot deadlock
    ON CONFLICT DO NOTHING
    RETURNING event_id),
open AS MATERIALIZED ( -- dead letters are locked in the order of their ids, too
    SELECT dead.id, dead.event_id, dead.event_data
      FROM written JOIN engine.failed_jobs dead ON dead.event_id = written.event_id
     WHERE dead.resolved_at IS NULL ORDER BY dead.id FOR UPDATE OF dead),
other AS MATERIALIZED ( -- the data as JSON differ: another event, or another version of the same one
    SELECT open.id
      FROM open JOIN jsonb_to_recordset(%(events)s::jsonb) AS e (id uuid, type text, tenantid uuid, data jsonb)
           ON e.id = open.event_id
     WHERE EXISTS (SELECT FROM open) -- or the events would be read a second time for nothing
       AND (open.event_data ->> 'type', open.event_data ->> 'tenantid', open.event_data -> 'data')
           IS DISTINCT FROM (e.type, e.tenantid::text, e.data)),
resolved AS (
    UPDATE engine.failed_jobs dead SET resolved_at = now()
      FROM open WHERE dead.id = open.id AND open.id NOT IN (SELECT id FROM other))
SELECT count(*), CASE WHEN count(*) < %(count)s THEN array_agg(event_id) END, (SELECT array_agg(id) FROM other)
  FROM written
"""
# Nearly always all events are new. Their ids are then not returned, because the caller has them.
_LETTERS = "SELECT id, event_id, event_data FROM engine.failed_jobs WHERE id = ANY(%s) ORDER BY id"
_RESOLVE = "UPDATE engine.failed_jobs SET resolved_at = now() WHERE id = ANY(%s)"
_TAKE_BACK = "DELETE FROM engine.event_log WHERE event_id = ANY(%s)"
_APPLIED = "SELECT event_id FROM engine.event_log WHERE event_id = ANY(%s)"
_KNOWN = """
SELECT event_id, true, NULL::jsonb FROM engine.event_log WHERE event_id = ANY(%(ids)s)
UNION ALL
SELECT event_id, false, event_data FROM engine.failed_jobs WHERE event_id = ANY(%(ids)s) AND resolved_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class _Letter:
    """An open dead letter that this transaction has locked."""

    id: UUID
    event_id: UUID
    event_data: Any


def enter(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[Event[Any]]:
    """Enter events into the ledger. Returns those that were not there: the events that this transaction applies.

    Of several events with one id the first is entered. The open dead letter of an entered event is resolved. An event
    whose id an open dead letter has for a different event is not entered; a copy of the dead event behind it is.
    """
    readable = first_of_each(queued_events)
    if not readable:
        return []
    text = to_json([queued.raw for queued in readable.values()]).decode()
    given = {"events": text, "count": len(readable)}
    count, fresh, others = connection.execute(_LEDGER, given).fetchone() or (0, None, None)
    if others is None and count == len(readable):
        return [queued.event for queued in readable.values()]  # type: ignore[misc]
    new = readable.keys() if count == len(readable) else set(fresh or ())
    entered = {event_id: queued for event_id, queued in readable.items() if event_id in new}
    if others is not None:
        entered = _give_way(connection, queued_events, entered, others)
    return [queued.event for queued in entered.values()]  # type: ignore[misc]


def _give_way(
    connection: Connection,
    queued_events: Sequence[QueuedEvent],
    entered: Mapping[UUID, QueuedEvent],
    letter_ids: Sequence[UUID],
) -> dict[UUID, QueuedEvent]:
    """Take back the entries of events whose open dead letter, one of `letter_ids`, holds a different event.

    Returns the entered events. A copy of the dead event that comes later in the list is entered instead.
    """
    letters = connection.cursor(row_factory=class_row(_Letter)).execute(_LETTERS, [letter_ids]).fetchall()
    others = {one.event_id: one for one in letters if differs_from_letter(one.event_data, entered[one.event_id])}
    connection.execute(_RESOLVE, [[one.id for one in letters if one.event_id not in others]])
    connection.execute(_TAKE_BACK, [list(others)])
    copies = first_of_each(
        queued
        for queued in queued_events
        if queued.event_id in others and not differs_from_letter(others[queued.event_id].event_data, queued)
    )
    enter(connection, list(copies.values()))
    return {
        event_id: copies.get(event_id, queued)
        for event_id, queued in entered.items()
        if event_id not in others or event_id in copies
    }


def applied(connection: Connection, event_ids: Collection[UUID | None]) -> set[UUID]:
    """Return the ids that are in the ledger."""
    return {event_id for (event_id,) in connection.execute(_APPLIED, [list(event_ids)])}


def not_applied(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[QueuedEvent]:
    """Return the readable events that may be applied; of several with one id, the first.

    Left out are events whose id is in the ledger, and those whose id an open dead letter has for a different event.
    """
    ids = list({queued.event_id for queued in queued_events})
    applied, letters = set(), {}
    for event_id, is_applied, raw in connection.execute(_KNOWN, {"ids": ids}):
        if is_applied:
            applied.add(event_id)
        else:
            letters[event_id] = raw
    return list(
        first_of_each(
            queued
            for queued in queued_events
            if queued.event_id not in applied
            and not (queued.event_id in letters and differs_from_letter(letters[queued.event_id], queued))
        ).values()
    )


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
