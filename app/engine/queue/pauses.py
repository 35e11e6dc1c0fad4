"""Pauses: stop all fetches from a queue until an operator resumes it.

A pause is a row: it survives restarts and applies to all workers. A worker reads the pauses before it fetches. Running
deliveries are finished. The audit log records in the same commit who paused or resumed, when and why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from app.context import Connection
from app.engine import audit_log
from app.engine.domain import wiring
from app.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Pause:
    """A paused queue: since when, by whom and why. `is_new`: the call that returns it began the pause."""

    queue_name: str
    paused_at: datetime
    paused_by: str
    reason: str
    is_new: bool = field(default=False, compare=False)


PAUSED_NAMES = "SELECT queue_name FROM engine.paused_queues"
"""The query of a worker before it fetches, on Procrastinate's own connections."""

_ALL = "SELECT queue_name, paused_at, paused_by, reason FROM engine.paused_queues ORDER BY queue_name"
_PAUSE = """
INSERT INTO engine.paused_queues AS pause (queue_name, paused_by, reason) VALUES (%s, %s, %s)
ON CONFLICT (queue_name) DO UPDATE SET queue_name = pause.queue_name
RETURNING queue_name, paused_at, paused_by, reason, xmax = 0 AS is_new
"""
# An existing pause stays as it is. The update changes nothing; it makes RETURNING return the existing row.
_RESUME = """
DELETE FROM engine.paused_queues WHERE queue_name = %s RETURNING queue_name, paused_at, paused_by, reason
"""
_WAKE = """
SELECT pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', 0)::text)
  FROM unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || %s]) AS channel
"""
# Announces a new row, which makes workers fetch from the resumed queue now and not at their next poll.


def pauses(connection: Connection) -> dict[str, Pause]:
    """Return all pauses, by queue name."""
    found = connection.cursor(row_factory=class_row(Pause)).execute(_ALL).fetchall()
    return {pause.queue_name: pause for pause in found}


def pause(connection: Connection, queue: str, *, actor: str, reason: str) -> Pause:
    """Stop fetches from `queue`. Returns the pause: the existing one if the queue is already paused.

    Workers obey within a second of the commit. Raises `InvalidInput` for an unknown queue, and for an empty actor or
    reason.
    """
    _check_queue(queue, wiring().queues())
    actor, reason = audit_log.text("actor", actor), audit_log.text("reason", reason)
    with connection.transaction():
        cursor = connection.cursor(row_factory=class_row(Pause))
        made = cursor.execute(_PAUSE, [queue, actor, reason]).fetchone()
        if made is None:
            raise AssertionError("INSERT ... RETURNING returned nothing")
        if made.is_new:
            audit_log.record(connection, actor, "pause", subject=queue, reason=reason)
    return made


def resume(connection: Connection, queue: str, *, actor: str, reason: str | None = None) -> Pause | None:
    """Resume fetches from `queue`. Returns the pause that ended; None if the queue was not paused.

    Raises `InvalidInput` for a queue that is neither known nor paused, and for an empty actor.
    """
    actor = audit_log.text("actor", actor)
    with connection.transaction():
        _check_queue(queue, [*wiring().queues(), *pauses(connection)])
        ended = connection.cursor(row_factory=class_row(Pause)).execute(_RESUME, [queue]).fetchone()
        if ended is not None:
            since = {"paused_at": ended.paused_at.isoformat(), "paused_by": ended.paused_by, "paused_for": ended.reason}
            audit_log.record(connection, actor, "resume", subject=queue, reason=reason, details=since)
            connection.execute(_WAKE, [queue])
    return ended


def _check_queue(queue: str, known: list[str]) -> None:
    if queue not in known:
        raise InvalidInput(f"queue: there is no {queue!r}; there are {', '.join(sorted(set(known)))}")
