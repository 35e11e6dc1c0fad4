"""Sequence: events that are applied in the order of their publication, subject by subject.

A type is declared so on its payload (`@event_type("…", sequenced=True)`). Its events of one subject are ordered:
`engine.sequence` has a row for each from its publication until it is applied or given up. Only the first of a subject
is applied, so whatever is in the way of an event (one before it waits, was put back, is dead, or is held by another
worker) needs no rule of its own. An event delivered out of order leaves the queue and is held, which counts as
waiting; the commit that takes away the last one before it puts it back into the queue.

The order is that in which `publish()` was called: within a transaction, and between transactions of which one began
to publish after the other had committed. Transactions that publish at the same time are in no order until both have
committed: an event that commits late may find that later ones were applied. An event that was put into the queue by
another program, or before its type was declared sequenced, gets its position when it is first delivered. An event
without a subject is not ordered. All versions of a type are ordered together, two types apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json

from app.context import Connection
from app.engine.domain import Invariant
from app.engine.queue.envelope import QueuedEvent, one_of_each
from app.engine.routing import EVENTS_PRIORITY, EVENTS_QUEUE, MOST_IN_A_ROW
from events import Event, InvalidEvent

_JOIN = """
INSERT INTO engine.sequence (type, subject_id, event_id)
SELECT e.type, e.subject, e.id
  FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (id uuid, type text, subject uuid))
       WITH ORDINALITY AS e (id, type, subject, n)
 ORDER BY e.n
ON CONFLICT DO NOTHING
"""
_TAKE_NEXT = "SELECT event_id, place AS position, has_turn AS is_next FROM engine.take_turns(%s::jsonb)"
_HOLD = """
UPDATE engine.sequence s SET held = early.event, attempt = early.attempt, held_at = now()
  FROM jsonb_to_recordset(%s::jsonb) AS early (id uuid, attempt integer, event jsonb)
 WHERE s.event_id = early.id
"""
_RELEASE = "SELECT engine.release(%s, %s, %s, %s)"
_TAKE_OVER = "UPDATE engine.sequence SET event_id = %s WHERE event_id = %s"
_LEFT_BEHIND = "SELECT s.event_id FROM engine.sequence s JOIN engine.event_log l USING (event_id) LIMIT %s"
_POSITION = """
SELECT s.type, s.subject_id, s.held_at IS NOT NULL AS is_held,
       (SELECT count(*) FROM engine.sequence a
         WHERE a.subject_id = s.subject_id AND a.type = s.type AND a.position < s.position) AS ahead,
       (SELECT a.event_id FROM engine.sequence a
         WHERE a.subject_id = s.subject_id AND a.type = s.type ORDER BY a.position LIMIT 1) AS first_id
  FROM engine.sequence s WHERE s.event_id = %s
"""

INVARIANTS = (
    Invariant(
        "sequence: nobody waits in line who is applied",
        "SELECT s.event_id FROM engine.sequence s JOIN engine.event_log l USING (event_id)",
    ),
    Invariant(
        "sequence: whoever is first in line is not held",
        """
        SELECT s.event_id, s.type, s.subject_id FROM engine.sequence s
         WHERE s.held IS NOT NULL AND NOT EXISTS (
               SELECT FROM engine.sequence a
                WHERE a.subject_id = s.subject_id AND a.type = s.type AND a.position < s.position)
        """,
    ),
)
"""True at every commit, once no worker runs that does not know which types are sequenced."""


@dataclass(frozen=True, slots=True)
class Position:
    """Position of an event: how many are `ahead` of it, the first of them, and whether it is held."""

    type: str
    subject_id: UUID
    is_held: bool
    ahead: int
    first_id: UUID


@dataclass(frozen=True, slots=True)
class _Position:
    event_id: UUID
    position: int
    is_next: bool


def joining(events: Iterable[Event[Any]]) -> list[tuple[LiteralString, list[str]]]:
    """The statement, if any, that gives positions to events that are being published, with its parameters.

    Raises `InvalidEvent` for a sequenced event without a subject.
    """
    sequenced = [event for event in events if event.data.sequenced]
    for event in sequenced:
        if event.subject is None:
            raise InvalidEvent(f"{event.type} {event.id}: subject: its type is sequenced, an event of it needs one")
    return [(_JOIN, [_names(sequenced)])] if sequenced else []


def take_next(connection: Connection, queued_events: Sequence[QueuedEvent]) -> Sequence[QueuedEvent]:
    """The events that may be applied in the caller's transaction, each subject's in order; the others are held.

    Until the transaction ends no other session decides about these subjects. Events that are not sequenced are
    returned as they are, and cost nothing.
    """
    sequenced = _lined(queued_events)
    if not sequenced:
        return queued_events
    cursor = connection.cursor(row_factory=class_row(_Position))
    positions = {position.event_id: position for position in cursor.execute(_TAKE_NEXT, [_names(_events(sequenced))])}
    early = {
        queued.event_id for queued in sequenced if (position := positions.get(_id(queued))) and not position.is_next
    }
    if early:
        held = [_held(queued) for queued in sequenced if queued.event_id in early]
        connection.execute(_HOLD, [to_json(held).decode()])
    others = [queued for queued in queued_events if not _is_sequenced(queued)]
    now = [queued for queued in sequenced if queued.event_id not in early]
    return [
        *others,
        *sorted(now, key=lambda queued: positions[_id(queued)].position if _id(queued) in positions else -math.inf),
    ]


def leave(connection: Connection, queued_events: Sequence[QueuedEvent]) -> None:
    """Remove applied events from their subjects' order."""
    if sequenced := [_id(queued) for queued in _lined(queued_events)]:
        release(connection, sequenced)


def keep_positions(connection: Connection, queued_events: Sequence[QueuedEvent]) -> None:
    """Keep the positions of events that are put back or buried: later events of their subjects wait."""
    if sequenced := _lined(queued_events):
        connection.execute(_JOIN, [_names(_events(sequenced))])


def release(connection: Connection, event_ids: Sequence[UUID]) -> int:
    """Remove events that were applied or given up, and requeue those they held back. Returns how many.

    Called once for all that a transaction ends, and before it locks or changes their dead letters: positions come
    first in the lock order. Events without a position are ignored. Not for a replay, which keeps its position until it
    is applied.
    """
    row = connection.execute(_RELEASE, [list(event_ids), EVENTS_QUEUE, EVENTS_PRIORITY, MOST_IN_A_ROW]).fetchone()
    return int(row[0]) if row else 0


def take_over(connection: Connection, old: UUID, new: UUID) -> bool:
    """Give the position of an event to the one that replaces it, before that is published. False if it had none."""
    return connection.execute(_TAKE_OVER, [new, old]).rowcount > 0


def position_of(connection: Connection, event_id: UUID) -> Position | None:
    """The position of an event; None if it has none."""
    return connection.cursor(row_factory=class_row(Position)).execute(_POSITION, [event_id]).fetchone()


def sweep(connection: Connection, most: int) -> int:
    """Remove up to `most` positions of events that a worker applied as not sequenced. Returns how many.

    That happens while a deployment that declares a type sequenced is under way.
    """
    applied = [event_id for (event_id,) in connection.execute(_LEFT_BEHIND, [most])]
    if applied:
        release(connection, applied)
    return len(applied)


def _lined(queued_events: Sequence[QueuedEvent]) -> list[QueuedEvent]:
    if not any(isinstance(event, Event) and event.data.sequenced for event in one_of_each(queued_events)):
        return []
    return [queued for queued in queued_events if _is_sequenced(queued)]


def _is_sequenced(queued: QueuedEvent) -> bool:
    event = queued.event
    return isinstance(event, Event) and event.data.sequenced and event.subject is not None


def _events(queued_events: Iterable[QueuedEvent]) -> Iterable[Event[Any]]:
    return (queued.event for queued in queued_events if isinstance(queued.event, Event))


def _id(queued: QueuedEvent) -> UUID:
    if queued.event_id is None:
        raise TypeError(queued.raw)
    return queued.event_id


def _names(events: Iterable[Event[Any]]) -> str:
    return to_json([{"id": event.id, "type": event.type, "subject": event.subject} for event in events]).decode()


def _held(queued: QueuedEvent) -> dict[str, Any]:
    return {"id": queued.event_id, "attempt": queued.attempt, "event": queued.raw}
