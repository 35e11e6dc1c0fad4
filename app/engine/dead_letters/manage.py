"""Resolve, discard, annotate or edit dead letters by hand.

Each decision is recorded in the audit log, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

import events
from app.context import Connection, HandlerContext
from app.engine import audit_log
from app.engine.dead_letters import endings, handover, letter_locks
from app.engine.dead_letters.letters import COLUMNS, DeadLetter, find
from app.engine.queue import ordering
from app.engine.queue.publish import publish
from app.errors import Conflict
from events import Event, Unreadable

_LOCK = f"SELECT {COLUMNS} FROM engine.failed_jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE"  # noqa: S608
_CLOSE = """
UPDATE engine.failed_jobs
   SET resolved_at = coalesce(resolved_at, now()), notes = concat_ws(E'\\n', notes, %(note)s::text),
       replaced_by = coalesce(%(replaced_by)s, replaced_by)
 WHERE id = ANY(%(ids)s)
"""
_NOTE = "UPDATE engine.failed_jobs SET notes = concat_ws(E'\\n', notes, %s::text) WHERE id = %s"


def resolve(connection: Connection, wanted: Sequence[UUID], *, note: str, actor: str) -> list[DeadLetter]:
    """Close letters whose problem was solved in another way. Returns the letters, with `note`.

    Raises `NotFound`. Raises `Conflict` for letters that are resolved, and for letters of effects if an object, such as
    an item, still waits for the outcome.
    """
    return _close(connection, wanted, "resolve", note, actor)


def discard(connection: Connection, wanted: Sequence[UUID], *, note: str, actor: str) -> list[DeadLetter]:
    """Close letters that need no further action. Returns the letters, with `note`.

    An object that waits for the outcome of a dead effect, such as an item, fails in the same transaction, with the
    reason "discarded by `actor`". Raises `NotFound`. Raises `Conflict` for letters that are resolved.
    """
    return _close(connection, wanted, "discard", note, actor)


def annotate(connection: Connection, wanted: UUID, *, note: str, actor: str) -> DeadLetter:
    """Add a note to a letter. Returns the letter with the note. Raises `NotFound`."""
    with connection.transaction():
        letter = find(connection, wanted)
        connection.execute(_NOTE, [note, letter.id])
        audit_log.record(connection, actor, "note", subject=letter.id, reason=note)
    return find(connection, letter.id)


def edit(
    connection: Connection, wanted: UUID, data: Mapping[str, Any], *, reason: str | None, actor: str
) -> Event[Any]:
    """Publish the letter's event with other data as a new event, and resolve the letter. Returns the new event.

    The new event's `causationid` is the old event's id. Raises `NotFound`. Raises `InvalidEvent` if the data does not
    match the event's schema, and `Conflict` if the letter is resolved or its call is in progress.
    """
    with connection.transaction():
        letter = find(connection, wanted)
        event = edited(HandlerContext.begin(connection), letter, data)
        # The lock order of deliveries: the position, the call, the ledger, the letter.
        if letter.event_id is not None:
            ordering.take_over(connection, letter.event_id, event.id)
        entered = handover.hand_over(connection, letter, event)
        _lock_one(connection, letter, [entered] if entered else [])
        publish(connection, event)
        note = f"edited by {actor}: event {event.id} takes its place"
        connection.execute(_CLOSE, {"ids": [letter.id], "note": note, "replaced_by": event.id})
        details = {"event_id": str(event.id), "before": _data(letter.event_data), "after": dict(data)}
        audit_log.record(connection, actor, "edit", subject=letter.id, reason=reason, details=details)
    return event


def edited(context: HandlerContext, letter: DeadLetter, data: Mapping[str, Any]) -> Event[Any]:
    """Return the event that an edit would publish. Raises `InvalidEvent`."""
    raw = letter.event_data if isinstance(letter.event_data, dict) else {}
    kind = events.KINDS.get(str(raw.get("type")))
    version = kind.payload.version if kind else 1
    new = {
        **raw,
        "id": str(events.new_id()),
        "time": context.now.isoformat(),
        "dataschema": f"{raw.get('type')}/{version}",
        "causationid": raw.get("id"),
        "correlationid": raw.get("correlationid") or raw.get("id"),
        "data": dict(data),
    }
    found = events.parse_all([{name: value for name, value in new.items() if value is not None}])[0]
    if isinstance(found, Unreadable):
        raise events.InvalidEvent(found.reason)
    return found


def current_data(letter: DeadLetter) -> dict[str, Any]:
    """Return the letter's data upcast to the current version of its schema, or unchanged if it cannot be parsed."""
    read = events.parse_all([letter.event_data])[0]
    return _data(letter.event_data) if isinstance(read, Unreadable) else dict(read.data.model_dump(mode="json"))


def _close(connection: Connection, wanted: Sequence[UUID], action: str, note: str, actor: str) -> list[DeadLetter]:
    with connection.transaction():
        known = {letter.id: letter for letter in (find(connection, one) for one in wanted)}
        # The lock order of deliveries: positions, calls, letters, then the rows that `end_waiting` locks.
        ordering.release(connection, [letter.event_id for letter in known.values() if letter.event_id])
        calls = letter_locks.seize(connection, letter_locks.events_of(known.values()))
        found = _open(connection, sorted(known))
        endings.end_waiting(connection, found, action, f"discarded by {actor}: {note}")
        connection.execute(_CLOSE, {"ids": [letter.id for letter in found], "note": note, "replaced_by": None})
        for letter in found:
            audit_log.record(connection, actor, action, subject=letter.id, reason=note)
        letter_locks.let_go(connection, calls)
    return [replace(letter, notes=note) for letter in found]


def _lock_one(connection: Connection, letter: DeadLetter, entered: Sequence[UUID]) -> None:
    """Lock a letter. Raises `Conflict` if it is resolved or has changed since it was read."""
    if letter.resolved_at is not None or not letter_locks.lock(connection, [letter], entered):
        _open(connection, [letter.id])
        raise Conflict(f"dead letter: {letter.id} was dead-lettered again or resolved meanwhile; read it again")


def _open(connection: Connection, ids: Sequence[UUID]) -> list[DeadLetter]:
    """Lock and return letters, ordered by id. Raises `Conflict` if one of them is resolved."""
    found = connection.cursor(row_factory=class_row(DeadLetter)).execute(_LOCK, [list(ids)]).fetchall()
    closed = [letter for letter in found if letter.resolved_at is not None]
    if closed:
        named = ", ".join(f"{letter.id} (since {letter.resolved_at:%Y-%m-%d %H:%M:%S})" for letter in closed[:20])
        raise Conflict(f"dead letters: {len(closed)} of them are resolved already: {named}")
    return found


def _data(raw: Any) -> dict[str, Any]:
    data = raw.get("data") if isinstance(raw, dict) else None
    return dict(data) if isinstance(data, dict) else {}
