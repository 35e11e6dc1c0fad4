"""Sequence: events that are applied in the order of their publication, subject by subject.

A type is declared so on its payload (`@event_type("…", sequenced=True)`). Its events of one subject are a line:
`engine.sequence` has a row for each from its publication until it is applied or given up. Only the first of a line is
applied, so whatever is in the way of an event (one before it waits, was put back, is dead, or is in another worker's
hands) needs no rule of its own. What is delivered before its turn leaves the queue and is held, which counts as
waiting; the commit that takes away the last one before it puts it back into the queue.

The order is that in which `publish()` was called: within a transaction, and between transactions of which one began
to publish after the other had committed. Transactions that publish at the same time are in no order until both have
committed: an event that commits late may find that later ones were applied. An event that was put into the queue by
other hands, or before its type was declared sequenced, joins its line when it is first delivered; one that says no
subject has no line. All versions of a type are one line, two types are two.
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
from app.engine.queue.envelope import Letter, one_of_each
from app.engine.routing import EVENTS_PRIORITY, EVENTS_QUEUE, PARCEL
from events import Event, InvalidEvent

_JOIN = """
INSERT INTO engine.sequence (type, subject_id, event_id)
SELECT e.type, e.subject, e.id
  FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (id uuid, type text, subject uuid))
       WITH ORDINALITY AS e (id, type, subject, n)
 ORDER BY e.n
ON CONFLICT DO NOTHING
"""
_TAKE_TURNS = "SELECT event_id, place, has_turn FROM engine.take_turns(%s::jsonb)"
_HOLD = """
UPDATE engine.sequence s SET held = early.event, attempt = early.attempt, held_at = now()
  FROM jsonb_to_recordset(%s::jsonb) AS early (id uuid, attempt integer, event jsonb)
 WHERE s.event_id = early.id
"""
_RELEASE = "SELECT engine.release(%s, %s, %s, %s)"
_TAKE_OVER = "UPDATE engine.sequence SET event_id = %s WHERE event_id = %s"
_LEFT_BEHIND = "SELECT s.event_id FROM engine.sequence s JOIN engine.event_log l USING (event_id) LIMIT %s"
_PLACE = """
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
class Place:
    """Where an event stands: how many are `ahead` in its line, the first of them, and whether it is held meanwhile."""

    type: str
    subject_id: UUID
    is_held: bool
    ahead: int
    first_id: UUID


@dataclass(frozen=True, slots=True)
class _Turn:
    event_id: UUID
    place: int
    has_turn: bool


def joining(events: Iterable[Event[Any]]) -> list[tuple[LiteralString, list[str]]]:
    """The statement, if any, by which events that are being published join their lines, with its parameters.

    Raises `InvalidEvent` for a sequenced event without a subject.
    """
    sequenced = [event for event in events if event.data.sequenced]
    for event in sequenced:
        if event.subject is None:
            raise InvalidEvent(f"{event.type} {event.id}: subject: its type is sequenced, say whose turn it is")
    return [(_JOIN, [_names(sequenced)])] if sequenced else []


def take_turns(connection: Connection, letters: Sequence[Letter]) -> Sequence[Letter]:
    """The letters that may be applied in the caller's transaction, each subject's in order; the others are held.

    Until the transaction ends nobody else decides about the lines of these letters. Letters that are not sequenced
    are returned as they are, and cost nothing.
    """
    lined = _lined(letters)
    if not lined:
        return letters
    cursor = connection.cursor(row_factory=class_row(_Turn))
    turns = {turn.event_id: turn for turn in cursor.execute(_TAKE_TURNS, [_names(_events(lined))])}
    early = {letter.event_id for letter in lined if (turn := turns.get(_id(letter))) and not turn.has_turn}
    if early:
        held = [_held(letter) for letter in lined if letter.event_id in early]
        connection.execute(_HOLD, [to_json(held).decode()])
    others = [letter for letter in letters if not _is_sequenced(letter)]
    now = [letter for letter in lined if letter.event_id not in early]
    return [*others, *sorted(now, key=lambda letter: turns[_id(letter)].place if _id(letter) in turns else -math.inf)]


def leave(connection: Connection, letters: Sequence[Letter]) -> None:
    """Letters have been applied: theirs is the turn no more."""
    if lined := [_id(letter) for letter in _lined(letters)]:
        release(connection, lined)


def keep_places(connection: Connection, letters: Sequence[Letter]) -> None:
    """Letters are put back or buried: those behind them wait, also if they had joined only in what was rolled back."""
    if lined := _lined(letters):
        connection.execute(_JOIN, [_names(_events(lined))])


def release(connection: Connection, event_ids: Sequence[UUID]) -> int:
    """Events are over, applied or given up by an admin: those behind them are called; returns how many.

    Called once for all that a transaction ends, and before it locks or changes their dead letters: lines come first
    in the lock order. Events without a line do not matter. Not for a replay, which keeps its place: it is over when
    it is applied.
    """
    row = connection.execute(_RELEASE, [list(event_ids), EVENTS_QUEUE, EVENTS_PRIORITY, PARCEL]).fetchone()
    return int(row[0]) if row else 0


def take_over(connection: Connection, old: UUID, new: UUID) -> bool:
    """Give the place of an event to the one that replaces it, before that is published; False if it had none."""
    return connection.execute(_TAKE_OVER, [new, old]).rowcount > 0


def place(connection: Connection, event_id: UUID) -> Place | None:
    """Where an event stands in its line; None for one that is in none."""
    return connection.cursor(row_factory=class_row(Place)).execute(_PLACE, [event_id]).fetchone()


def sweep(connection: Connection, most: int) -> int:
    """Take events out of line that a worker applied without knowing them as sequenced; returns how many, up to `most`.

    That happens while a deployment that declares a type sequenced is under way.
    """
    applied = [event_id for (event_id,) in connection.execute(_LEFT_BEHIND, [most])]
    if applied:
        release(connection, applied)
    return len(applied)


def _lined(letters: Sequence[Letter]) -> list[Letter]:
    if not any(isinstance(event, Event) and event.data.sequenced for event in one_of_each(letters)):
        return []
    return [letter for letter in letters if _is_sequenced(letter)]


def _is_sequenced(letter: Letter) -> bool:
    event = letter.event
    return isinstance(event, Event) and event.data.sequenced and event.subject is not None


def _events(letters: Iterable[Letter]) -> Iterable[Event[Any]]:
    return (letter.event for letter in letters if isinstance(letter.event, Event))


def _id(letter: Letter) -> UUID:
    if letter.event_id is None:
        raise TypeError(letter.raw)
    return letter.event_id


def _names(events: Iterable[Event[Any]]) -> str:
    return to_json([{"id": event.id, "type": event.type, "subject": event.subject} for event in events]).decode()


def _held(letter: Letter) -> dict[str, Any]:
    return {"id": letter.event_id, "attempt": letter.attempt, "event": letter.raw}
