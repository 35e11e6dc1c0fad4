"""Timeline of a job or order: all events with this subject, their states, and their causes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from app.context import Connection
from app.errors import NotFound

State = Literal["applied", "dead", "resolved", "waiting", "in_hand", "held"]
"""The state of an event. `resolved`: a closed dead letter. `held`: waits for earlier events of its subject."""

_COUNT = "SELECT count(*) FROM engine.event_log WHERE subject_id = %s AND type = %s"
_APPLIED = """
SELECT event_id, type, causation_id AS caused_by, occurred_at, applied_at AS at, data
  FROM engine.event_log WHERE subject_id = %s ORDER BY applied_at, occurred_at, event_id LIMIT %s
"""
_DEAD = """
SELECT event_data AS event, failed_at AS at, resolved_at IS NOT NULL AS is_resolved, retry_count AS deliveries,
       concat_ws(': ', error_class, error_message) AS why, id AS letter_id
  FROM engine.failed_jobs WHERE event_data @> %s ORDER BY failed_at, id LIMIT %s
"""
_WAITING = """
SELECT e.event, j.row_id, j.status = 'doing' AS is_in_hand, j.due_at AS at, trunc(j.attempt)::integer AS attempt,
       j.error AS why
  FROM engine.queue_rows j CROSS JOIN LATERAL jsonb_array_elements(j.events) AS e (event)
 WHERE j.status IN ('todo', 'doing') AND j.events @> jsonb_build_array(%(pattern)s::jsonb)
   AND e.event @> %(pattern)s AND (j.place = 'delayed' OR engine.is_ours(j.task_name, j.queue_name, '{}'))
 ORDER BY j.place DESC, j.row_id LIMIT %(limit)s
"""
_HELD = """
SELECT held AS event, held_at AS at, attempt FROM engine.sequence
 WHERE subject_id = %s AND held IS NOT NULL ORDER BY position LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a timeline in one state.

    `at`: when it entered the state, or the end of its delay. `depth`: the number of its causes in this timeline.
    `why`: the error for which it was dead-lettered or put back.
    """

    event_id: UUID | None
    type: str
    state: State
    occurred_at: datetime | None
    at: datetime | None
    caused_by: UUID | None
    why: str | None = None
    data: Any = None
    row_id: int | None = None
    letter_id: UUID | None = None
    attempt: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Applied:
    event_id: UUID
    type: str
    caused_by: UUID | None
    occurred_at: datetime
    at: datetime
    data: Any


def count_events(connection: Connection, subject_id: UUID, kind: str) -> int:
    """Return the number of applied events with this subject and type (`kind`)."""
    row = connection.execute(_COUNT, [subject_id, kind]).fetchone()
    return int(row[0]) if row else 0


def timeline(connection: Connection, subject_id: UUID, limit: int = 1000) -> list[Entry]:
    """Return the events of a job or order in the order of publishing; at most `limit` from each source.

    Sources: ledger, dead letters, queue, held events. Reads all waiting rows and all dead letters. Raises `NotFound` if
    no event has this subject.
    """
    pattern = Jsonb({"subject": str(subject_id)})
    found = [
        *_applied(connection, subject_id, limit),
        *(_dead(row) for row in _rows(connection, _DEAD, [pattern, limit])),
        *(_waiting(row) for row in _rows(connection, _WAITING, {"pattern": pattern, "limit": limit})),
        *(_held(row) for row in _rows(connection, _HELD, [subject_id, limit])),
    ]
    if not found:
        raise NotFound(f"timeline: no event is about {subject_id}, as far as the ledger goes back")
    return sorted(_with_depths(found), key=_order)


def _applied(connection: Connection, subject_id: UUID, limit: int) -> Iterable[Entry]:
    cursor = connection.cursor(row_factory=class_row(_Applied))
    for row in cursor.execute(_APPLIED, [subject_id, limit]):
        yield Entry(row.event_id, row.type, "applied", row.occurred_at, row.at, row.caused_by, data=row.data)


def _rows(connection: Connection, statement: Any, parameters: Any) -> list[dict[str, Any]]:
    return connection.cursor(row_factory=dict_row).execute(statement, parameters).fetchall()


def _dead(row: Mapping[str, Any]) -> Entry:
    entry = _entry(row, "resolved" if row["is_resolved"] else "dead")
    return replace(entry, letter_id=row["letter_id"], attempt=row["deliveries"])


def _waiting(row: Mapping[str, Any]) -> Entry:
    return replace(_entry(row, "in_hand" if row["is_in_hand"] else "waiting"), row_id=row["row_id"])


def _held(row: Mapping[str, Any]) -> Entry:
    return _entry({**row, "why": "waits for its turn"}, "held")


def _entry(row: Mapping[str, Any], state: State) -> Entry:
    # A waiting or dead event may not be valid: read each attribute on its own.
    event = row["event"] if isinstance(row["event"], dict) else {}
    return Entry(
        _uuid(event.get("id")),
        str(event.get("type")),
        state,
        _instant(event.get("time")),
        row["at"],
        _uuid(event.get("causationid")),
        row["why"],
        event.get("data"),
        attempt=row["attempt"] if isinstance(row.get("attempt"), int) else None,
    )


def _with_depths(entries: Iterable[Entry]) -> list[Entry]:
    found = list(entries)
    causes = {entry.event_id: entry.caused_by for entry in found if entry.event_id}
    return [replace(entry, depth=_depth(entry.caused_by, causes)) for entry in found]


def _depth(cause: UUID | None, causes: Mapping[UUID, UUID | None]) -> int:
    seen: set[UUID] = set()
    while cause is not None and cause in causes and cause not in seen:
        seen.add(cause)
        cause = causes[cause]
    return len(seen)


def _order(entry: Entry) -> tuple[bool, float, int, float, str]:
    said, at = entry.occurred_at, entry.at
    return (
        said is None,
        said.timestamp() if said else 0,
        entry.depth,
        at.timestamp() if at else 0,
        str(entry.event_id),
    )


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError):
        return None


def _instant(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None
