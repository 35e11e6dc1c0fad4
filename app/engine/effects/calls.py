"""Marks of outside calls that were begun and have no recorded outcome: rows of `engine.calls`, by the call's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from app.context import Connection

_OVER = "DELETE FROM engine.calls WHERE call_key = ANY(%s)"
_NEVER_BEGUN = "DELETE FROM engine.calls WHERE call_key = ANY(%s) AND tries = 1"
# A call that an earlier try left in doubt stays in doubt; its grace period is over.
_BEGUN_BEFORE = """
UPDATE engine.calls SET tries = tries - 1, ask_after = clock_timestamp() WHERE call_key = ANY(%s) AND tries > 1
"""
_RENAME = "UPDATE engine.calls SET event_id = %s, call_key = %s WHERE call_key = %s"
_LIVE = "SELECT call_key FROM engine.calls c WHERE call_key = ANY(%s) AND engine.is_live(row_id, attempts, worker_id)"
_IN_HAND = """
SELECT EXISTS (
    SELECT FROM engine.calls c
     WHERE c.call_key = ANY(%(keys)s)
       AND (engine.is_live(c.row_id, c.attempts, c.worker_id) OR c.ask_after > clock_timestamp()
            OR c.ask_after IS NULL AND EXISTS (
               SELECT FROM engine.rescues r
                WHERE r.row_id = c.row_id AND r.at > clock_timestamp() - %(grace_period)s * interval '1 second')))
"""
# Row 0 belongs to no delivery. An existing call's row is locked and unchanged; xmax <> 0 marks it.
_SEIZE = """
INSERT INTO engine.calls AS c (call_key, event_id, row_id, attempts)
SELECT call_key, event_id, 0, 0 FROM unnest(%s::uuid[], %s::uuid[]) AS wanted (call_key, event_id) ORDER BY call_key
ON CONFLICT (call_key) DO UPDATE SET row_id = c.row_id
RETURNING call_key, xmax <> 0 AND engine.is_live(row_id, attempts, worker_id), xmax <> 0
"""
# Marks under the event's id, from an older version or from before an edit, while none exists under the key.
_ADOPT = """
UPDATE engine.calls c SET call_key = wanted.call_key
  FROM unnest(%s::uuid[], %s::uuid[]) AS wanted (call_key, event_id)
 WHERE c.event_id = wanted.event_id AND c.call_key <> wanted.call_key
   AND NOT EXISTS (SELECT FROM engine.calls there WHERE there.call_key = wanted.call_key)
"""
_REPLACED = """
DELETE FROM engine.calls c USING unnest(%s::uuid[], %s::uuid[]) AS wanted (call_key, event_id)
 WHERE c.event_id = wanted.event_id AND c.call_key <> wanted.call_key
   AND NOT engine.is_live(c.row_id, c.attempts, c.worker_id)
"""


# A call that a delivery left without an outcome may have been made just now: its grace period begins now.
_BEGIN_GRACE_PERIOD = """
WITH left_behind AS MATERIALIZED (
    SELECT c.call_key FROM engine.calls c
     WHERE c.call_key = ANY(%(keys)s) AND c.ask_after IS NULL AND NOT engine.is_live(c.row_id, c.attempts, c.worker_id)
     ORDER BY c.call_key FOR UPDATE)
UPDATE engine.calls c SET ask_after = clock_timestamp() + %(grace_period)s * interval '1 second'
  FROM left_behind WHERE c.call_key = left_behind.call_key
"""
_LOCK = "SELECT FROM engine.calls WHERE call_key = ANY(%s) ORDER BY call_key FOR UPDATE"
_GRACE_LEFT = """
SELECT greatest(0, coalesce(extract(epoch FROM max(ask_after) - clock_timestamp()), 0))::double precision
  FROM engine.calls WHERE call_key = ANY(%s)
"""


def lock_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """Lock calls in the order of their keys until the transaction ends.

    In the lock order: before ledger and dead letters.
    """
    connection.execute(_LOCK, [list(keys)])


def end_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """Delete the marks of calls. A delivery that claims one of these keys later begins the call anew, not in doubt."""
    if keys:
        connection.execute(_OVER, [list(keys)])


def unmark_calls(connection: Connection, keys: Sequence[UUID]) -> None:
    """Unmark calls that were marked as begun and not made, so that no delivery asks the other side about them."""
    if keys:
        connection.execute(_NEVER_BEGUN, [keys])
        connection.execute(_BEGUN_BEFORE, [keys])


def rename_call(connection: Connection, key: UUID, event_id: UUID, new_key: UUID) -> None:
    """Pass the mark of a call to the event `event_id`, under `new_key`."""
    connection.execute(_RENAME, [event_id, new_key, key])


def in_hand(connection: Connection, keys: Sequence[UUID], grace_period: float) -> bool:
    """Whether a call of one of these keys is in progress, or within its grace period (`grace_period` seconds)."""
    row = connection.execute(_IN_HAND, {"keys": list(keys), "grace_period": grace_period}).fetchone()
    return row is not None and bool(row[0])


def live(connection: Connection, keys: Sequence[UUID]) -> set[UUID]:
    """Return those of these keys whose call a live delivery is making."""
    return {key for (key,) in connection.execute(_LIVE, [list(keys)])}


def seize_calls(connection: Connection, keys: Mapping[UUID, UUID]) -> dict[UUID, bool]:
    """Block the begin of these calls until the transaction ends, except of those that a live delivery is making.

    `keys`: call keys by event id. Returns, per blocked key, whether its call was begun before and has no outcome. A
    delivery that tries to begin one waits for the commit, and then checks the ledger. Call `end_calls()` for the
    returned keys.
    """
    adopt_marks(connection, keys)
    wanted = {key: event_id for event_id, key in keys.items()}
    rows = connection.execute(_SEIZE, [list(wanted), list(wanted.values())])
    return {key: in_doubt for key, is_live, in_doubt in rows if not is_live}


def begin_grace_period(connection: Connection, keys: Sequence[UUID], grace_period: float) -> None:
    """Begin the grace period, of `grace_period` seconds, of calls that a delivery left without an outcome."""
    connection.execute(_BEGIN_GRACE_PERIOD, {"keys": list(keys), "grace_period": grace_period})


def grace_left(connection: Connection, keys: Sequence[UUID]) -> float:
    """Return the seconds until the other side may be asked about all calls of these keys."""
    row = connection.execute(_GRACE_LEFT, [list(keys)]).fetchone()
    return float(row[0]) if row else 0.0


def adopt_marks(connection: Connection, keys: Mapping[UUID, UUID]) -> None:
    """Move marks of calls that were stored under an event's id to the call's key. `keys`: call keys by event id."""
    others = {event_id: key for event_id, key in keys.items() if key != event_id}
    if others:
        for statement in (_ADOPT, _REPLACED):
            connection.execute(statement, [list(others.values()), list(others)])
