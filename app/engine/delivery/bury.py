"""Bury: write dead letters for events that are not tried again until an admin replays them."""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID, uuid5

from pydantic_core import to_json

from app.context import Connection
from app.engine import metrics
from app.engine.delivery import reused
from app.engine.queue.envelope import QueuedEvent
from events import Event, parse_all

_BURY = """
INSERT INTO engine.failed_jobs AS dead
       (job_type, event_data, error_message, error_stack, retry_count, event_id, tenant_id, error_class, fingerprint,
        history)
SELECT r.job_type, r.event_data, r.error_message, r.error_stack, r.retry_count, r.event_id, r.tenant_id,
       r.error_class, r.fingerprint, coalesce((
           SELECT before.history || jsonb_build_object('at', before.failed_at, 'error_class', before.error_class,
                      'error_message', before.error_message, 'retry_count', before.retry_count)
             FROM engine.failed_jobs before
            WHERE before.resolved_at IS NOT NULL AND (before.event_id = r.event_id OR before.replaced_by = r.event_id)
            ORDER BY before.failed_at DESC LIMIT 1), '[]')
  FROM jsonb_to_recordset(%s::jsonb) AS r (
       job_type text, event_data jsonb, error_message text, error_stack text, retry_count integer, event_id uuid,
       tenant_id uuid, error_class text, fingerprint text)
 WHERE NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = r.event_id)
 ORDER BY (SELECT open.id FROM engine.failed_jobs open WHERE open.event_id = r.event_id AND open.resolved_at IS NULL),
          r.event_id -- existing letters are locked in the order of their ids, as everywhere
ON CONFLICT (event_id) WHERE resolved_at IS NULL
DO UPDATE SET error_message = excluded.error_message, error_stack = excluded.error_stack,
              error_class = excluded.error_class, fingerprint = excluded.fingerprint,
              retry_count = excluded.retry_count, failed_at = now(),
              history = dead.history || jsonb_build_object('at', dead.failed_at, 'error_class', dead.error_class,
                            'error_message', dead.error_message, 'retry_count', dead.retry_count)
        WHERE dead.event_id = ANY(%s::uuid[])
           OR (dead.event_data ->> 'type', dead.event_data ->> 'tenantid', dead.event_data -> 'data')
              IS NOT DISTINCT FROM
              (excluded.event_data ->> 'type', excluded.event_data ->> 'tenantid', excluded.event_data -> 'data')
RETURNING event_id
"""
# An event that another delivery has applied is not dead, even if this delivery failed.

_APPLIED = """
SELECT f.id, f.event_data FROM engine.failed_jobs f
 WHERE f.resolved_at IS NULL AND f.failed_at > now() - interval '1 hour'
   AND EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = f.event_id)
 ORDER BY f.id FOR UPDATE OF f
"""
_RESOLVE = """
UPDATE engine.failed_jobs f SET resolved_at = now(), replaced_by = coalesce(r.replaced_by, f.replaced_by)
  FROM unnest(%s::uuid[], %s::uuid[]) AS r (id, replaced_by) WHERE f.id = r.id
"""

_FORGET_RESCUES = "DELETE FROM engine.event_rescues WHERE event_id = ANY(%s::uuid[])"
# Only an admin replays a dead letter, so the count of rescues restarts at zero.

_STACK_LIMIT = 20_000
_MESSAGE_LIMIT = 4_000
_PARTICULARS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|'[^']*'|\"[^\"]*\"|\d+", re.IGNORECASE)


def bury(connection: Connection, dead: Iterable[tuple[QueuedEvent, BaseException]]) -> int:
    """Write dead letters in the transaction that acknowledges their deliveries. Returns how many were given.

    An event with an open dead letter keeps that row with the newest error; the earlier error moves to its history, as
    does that of an event that it replaced. An event that another delivery has applied gets no letter. An event whose id
    belongs to a different event, applied or dead, is buried as by `bury_apart()`.
    """
    given = list(dead)
    left = _compare_and_write(connection, given)
    if left:
        # Another delivery has applied or buried an event with one of these ids since they were compared.
        _compare_and_write(connection, left)
    return len(given)


def bury_apart(connection: Connection, dead: Iterable[tuple[QueuedEvent, BaseException]]) -> int:
    """Write dead letters for events whose ids belong to different events. Returns how many were given.

    Each letter gets an id derived from the event's content: it is not confused with the other event, and a second
    failure of the same content updates the same letter.
    """
    given = list(dead)
    _write(connection, given, [own_id(queued) for queued, _ in given], copies=())
    return len(given)


def bury_reused(
    connection: Connection, queued_events: Sequence[QueuedEvent], fresh: Sequence[Event[Any]]
) -> list[reused.Reuse]:
    """Bury the events of a list whose id belongs to a different event, with `ReusedId`. Returns them.

    `fresh`: the events of the list to which their ids belong from now on, as `ledger.enter()` returns them.
    """
    if len(fresh) == len(queued_events):
        return []
    found = reused.find(connection, queued_events, fresh)
    bury_apart(connection, [(one.queued, one.error) for one in found])
    return found


def bury_others(connection: Connection, queued_events: Sequence[QueuedEvent]) -> list[QueuedEvent]:
    """Bury the events whose id belongs to an event that was applied, is dead or is held, or to an earlier one of these.

    Each is buried with `ReusedId`. Returns them.
    """
    others, _ = reused.compare(connection, queued_events)
    bury_apart(connection, [(other.queued, other.error) for other in others])
    return [other.queued for other in others]


def resolve_applied(connection: Connection) -> None:
    """Resolve the recent dead letters whose events another delivery has applied.

    If one delivery buries an event while another one applies an event with its id, neither sees the other's change. If
    that is a different event, the dead one moves to a letter as by `bury_apart()`.
    """
    letters = connection.execute(_APPLIED).fetchall()
    if not letters:
        return
    read = parse_all([raw for _, raw in letters])
    queued_events = [QueuedEvent(0, 0, raw, event) for (_, raw), event in zip(letters, read, strict=True)]
    others, _ = reused.compare(connection, queued_events)
    apart = {other.queued: own_id(other.queued) for other in others}
    ids = [letter_id for letter_id, _ in letters]
    connection.execute(_RESOLVE, [ids, [apart.get(queued) for queued in queued_events]])
    bury_apart(connection, [(other.queued, other.error) for other in others])


def own_id(queued: QueuedEvent) -> UUID:
    """Return the id of the dead letter of an event whose id belongs to a different event."""
    content = {name: queued.raw.get(name) for name in ("type", "tenantid", "data")}
    return uuid5(queued.event_id or UUID(int=0), json.dumps(content, sort_keys=True))


def _compare_and_write(
    connection: Connection, given: Sequence[tuple[QueuedEvent, BaseException]]
) -> list[tuple[QueuedEvent, BaseException]]:
    """Write dead letters. Returns the events that got none because of an event that was not there when compared."""
    others, copies = reused.compare(connection, [queued for queued, _ in given])
    apart = {one.queued for one in others}
    ids = [own_id(queued) if queued in apart else queued.event_id for queued, _ in given]
    done = _write(connection, given, ids, copies) | copies
    return [pair for pair, event_id in zip(given, ids, strict=True) if event_id and event_id not in done]


def _write(
    connection: Connection,
    given: Sequence[tuple[QueuedEvent, BaseException]],
    ids: Sequence[UUID | None],
    copies: Collection[UUID],
) -> set[UUID | None]:
    """Insert or update the letters of events, under `ids`. Returns the ids of the letters that were written.

    `copies`: ids whose open letter holds the same event. Any other letter is changed only if its JSON is the same.
    """
    if not given:
        return set()
    rows = [{**_row(queued, why), "event_id": event_id} for (queued, why), event_id in zip(given, ids, strict=True)]
    rows = list({row["event_id"] or id(row): row for row in rows}.values())
    written = {event_id for (event_id,) in connection.execute(_BURY, [to_json(rows).decode(), list(copies)])}
    metrics.dead_lettered(row["job_type"] for row in rows if row["event_id"] in written)
    # Rescues are counted under the ids that events carry.
    connection.execute(_FORGET_RESCUES, [list({*ids, *(queued.event_id for queued, _ in given)})])
    return written


def fingerprint(job_type: str, error_class: str, message: str) -> str:
    """Return 16 hexadecimal digits that are equal for equal failures. Ids, numbers and quoted values are ignored."""
    essence = f"{job_type}\n{error_class}\n{_PARTICULARS.sub('*', message)}"
    return hashlib.sha256(essence.encode()).hexdigest()[:16]


def _row(queued: QueuedEvent, error: BaseException) -> dict[str, Any]:
    event = queued.event
    name, message = type(error).__name__, str(error)[:_MESSAGE_LIMIT] or type(error).__name__
    return {
        "job_type": queued.type,
        "event_data": queued.raw,
        "error_message": message.replace("\x00", ""),
        "error_stack": _stack(error) if isinstance(event, Event) else None,
        "retry_count": queued.attempt + 1,
        "tenant_id": event.tenantid if isinstance(event, Event) else None,
        "error_class": name,
        "fingerprint": fingerprint(queued.type, name, message),
    }


def _stack(error: BaseException) -> str:
    # Frames and messages only: local variables may hold personal data or secrets.
    return "".join(traceback.format_exception(error))[-_STACK_LIMIT:].replace("\x00", "")
