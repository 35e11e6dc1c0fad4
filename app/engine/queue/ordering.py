"""Ordering: apply the events of a sequenced type in the order of their publication, for each subject.

A payload declares its type sequenced (`@event_type("…", sequenced=True)`). Events of one type and subject are ordered:
`engine.sequence` has a row (a position) for each event from its publication until the event is applied or given up.
Only the first event of a subject is applied. No other rule is needed for an event that cannot be applied yet, because
an earlier one waits, was put back, is dead or is locked by another worker. An event that is delivered out of order
leaves the queue and is held; it counts as waiting. The commit that removes the last event before it requeues it.

The order is the order of the `publish()` calls: within a transaction, and between two transactions if the second began
to publish after the first had committed. Events of transactions that publish at the same time have no order until both
have committed: an event that commits late may find later ones applied. An event gets its position at its first delivery
if another program enqueued it, or if its type was not sequenced at its publication. An event without a subject is not
ordered. All versions of a type are ordered together; events of different types are not ordered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
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
        "sequence: an applied event does not wait",
        "SELECT s.event_id FROM engine.sequence s JOIN engine.event_log l USING (event_id)",
    ),
    Invariant(
        "sequence: the first event of a subject is not held",
        """
        SELECT s.event_id, s.type, s.subject_id FROM engine.sequence s
         WHERE s.held IS NOT NULL AND NOT EXISTS (
               SELECT FROM engine.sequence a
                WHERE a.subject_id = s.subject_id AND a.type = s.type AND a.position < s.position)
        """,
    ),
)
"""True at every commit, once no worker of a version runs for which these types were not sequenced."""


@dataclass(frozen=True, slots=True)
class Position:
    """Position of an event: the number of events `ahead` of it, the first of them, and whether the event is held."""

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
    """Return the statement, with parameters, that gives positions to `events` at publication; [] if none is sequenced.

    Raises `InvalidEvent` for a sequenced event without a subject.
    """
    sequenced = [event for event in events if event.data.sequenced]
    for event in sequenced:
        if event.subject is None:
            raise InvalidEvent(f"{event.type} {event.id}: subject: required, because the type is sequenced")
    return [(_JOIN, [_names(sequenced)])] if sequenced else []


def take_next(
    connection: Connection,
    queued_events: Sequence[QueuedEvent],
    refuse: Callable[[Sequence[QueuedEvent]], Collection[QueuedEvent]] = lambda _: (),
) -> Sequence[QueuedEvent]:
    """Return the events that may be applied in the caller's transaction, in order for each subject. Hold the others.

    Subjects are locked until the transaction ends. Events that are not sequenced are returned unchanged, without a
    query. `refuse` is called with the events that are delivered out of order, and returns those not to be held.
    """
    sequenced = _lined(queued_events)
    if not sequenced:
        return queued_events
    cursor = connection.cursor(row_factory=class_row(_Position))
    positions = {position.event_id: position for position in cursor.execute(_TAKE_NEXT, [_names(_events(sequenced))])}
    early = [queued for queued in sequenced if (position := positions.get(_id(queued))) and not position.is_next]
    if early:
        refused = set(refuse(early))
        held = [_held(queued) for queued in early if queued not in refused]
        connection.execute(_HOLD, [to_json(held).decode()])
    others = [queued for queued in queued_events if not _is_sequenced(queued)]
    out_of_order = set(early)
    now = [queued for queued in sequenced if queued not in out_of_order]
    return [
        *others,
        *sorted(now, key=lambda queued: positions[_id(queued)].position if _id(queued) in positions else -math.inf),
    ]


def leave(connection: Connection, queued_events: Sequence[QueuedEvent]) -> None:
    """Delete the positions of applied events, and requeue the events that waited for them."""
    if sequenced := [_id(queued) for queued in _lined(queued_events)]:
        release(connection, sequenced)


def keep_positions(connection: Connection, queued_events: Sequence[QueuedEvent]) -> None:
    """Keep the positions of events that are put back or buried, so that later events of their subjects wait."""
    if sequenced := _lined(queued_events):
        connection.execute(_JOIN, [_names(_events(sequenced))])


def release(connection: Connection, event_ids: Sequence[UUID]) -> int:
    """Delete the positions of events that were applied or given up. Returns how many held events were requeued.

    Call it once per transaction for all its events, before locking or changing their dead letters: positions come first
    in the lock order. Events without a position are ignored. Do not call it for a replay, which keeps its position
    until it is applied.
    """
    row = connection.execute(_RELEASE, [list(event_ids), EVENTS_QUEUE, EVENTS_PRIORITY, MOST_IN_A_ROW]).fetchone()
    return int(row[0]) if row else 0


def take_over(connection: Connection, old: UUID, new: UUID) -> bool:
    """Give the position of event `old` to `new`, its replacement, before that is published. False if `old` had none."""
    return connection.execute(_TAKE_OVER, [new, old]).rowcount > 0


def position_of(connection: Connection, event_id: UUID) -> Position | None:
    """Return the position of an event; None if it has none."""
    return connection.cursor(row_factory=class_row(Position)).execute(_POSITION, [event_id]).fetchone()


def sweep(connection: Connection, most: int) -> int:
    """Delete up to `most` positions of events that are already applied. Returns how many.

    Such positions remain if a worker of an older version applied the event as not sequenced, during a deployment that
    declares its type sequenced.
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
