"""Pauses: queues from which no worker takes a delivery until somebody resumes them.

A pause is a row, so it survives restarts and is the same for all workers; each looks it up before it fetches (the
fence). What is in hand is finished. Who paused and resumed, when and why, is recorded in the same commit.
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
    """A queue that is paused: since when, by whom and why; `is_new` in the answer to the call that began it."""

    queue_name: str
    paused_at: datetime
    paused_by: str
    reason: str
    is_new: bool = field(default=False, compare=False)


PAUSED_NAMES = "SELECT queue_name FROM engine.paused_queues"
"""What a worker asks before it fetches, through Procrastinate's own connections."""

_ALL = "SELECT queue_name, paused_at, paused_by, reason FROM engine.paused_queues ORDER BY queue_name"
_PAUSE = """
INSERT INTO engine.paused_queues AS pause (queue_name, paused_by, reason) VALUES (%s, %s, %s)
ON CONFLICT (queue_name) DO UPDATE SET queue_name = pause.queue_name
RETURNING queue_name, paused_at, paused_by, reason, xmax = 0 AS is_new
"""
# A pause that is there stays as it is; the update that changes nothing is what returns it.
_RESUME = """
DELETE FROM engine.paused_queues WHERE queue_name = %s RETURNING queue_name, paused_at, paused_by, reason
"""
_WAKE = """
SELECT pg_notify(channel, json_build_object('type', 'job_inserted', 'job_id', 0)::text)
  FROM unnest(ARRAY['procrastinate_any_queue_v1', 'procrastinate_queue_v1#' || %s]) AS channel
"""
# To a worker a queue that is resumed is one with a new row in it; without the word it would look at its next poll.


def pauses(connection: Connection) -> dict[str, Pause]:
    """Every pause in force, by the queue's name."""
    found = connection.cursor(row_factory=class_row(Pause)).execute(_ALL).fetchall()
    return {pause.queue_name: pause for pause in found}


def pause(connection: Connection, queue: str, *, actor: str, reason: str) -> Pause:
    """Let no worker take from `queue` any more; the pause, which is the one before if there was one.

    Workers obey within a second of the commit. Raises `InvalidInput` for a queue that nothing is ever put into, and
    for an empty actor or reason.
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
    """Let workers take from `queue` again; the pause that this ended, or None when it was not paused.

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
