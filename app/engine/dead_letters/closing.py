"""Close dead letters of effects as a consequence of another action, such as a cancelled job or a recorded result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine import audit_log
from app.engine.dead_letters import letter_locks
from app.engine.dead_letters.letters import PAGE, Dead
from app.engine.domain import wiring
from events import Event, Payload, parse_all

_OPEN = """
SELECT id, event_id, event_data, failed_at FROM engine.failed_jobs
 WHERE resolved_at IS NULL AND job_type = %s AND event_data ->> 'subject' = %s ORDER BY id
"""
_CLOSE = """
UPDATE engine.failed_jobs SET resolved_at = now(), notes = concat_ws(E'\\n', notes, %s::text) WHERE id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Held:
    """Locked dead letters: their events by the letter's id. `calls`: the result of `letter_locks.seize()` for them."""

    letters: Mapping[UUID, Event[Any]]
    calls: Mapping[UUID, bool]


def hold(connection: Connection, payload: type[Payload], subject: UUID, is_meant: Callable[[Event[Any]], bool]) -> Held:
    """Lock the open letters of one effect and subject whose events `is_meant` accepts. Pass the result to `close()`.

    Call this first in a transaction: calls and letters come before jobs in the lock order. Letters whose call a live
    delivery makes are left out, because the outcome of that call decides.
    """
    found: dict[UUID, tuple[Dead, Event[Any]]] = {}
    with connection.cursor(name="open_letters", row_factory=class_row(Dead)) as cursor:
        cursor.execute(_OPEN, [payload.type, str(subject)])
        while page := cursor.fetchmany(PAGE):
            for letter, event in zip(page, parse_all([one.event_data for one in page]), strict=True):
                if isinstance(event, Event) and is_meant(event):
                    found[letter.id] = (letter, event)
    calls = letter_locks.seize(connection, [event for _, event in found.values()])
    keys = wiring().call_keys([event for _, event in found.values()])
    free = [letter for letter, event in found.values() if keys[event.id] in calls]
    held = letter_locks.lock(connection, free)
    return Held({letter.id: found[letter.id][1] for letter in free if letter.id in held}, calls)


def close(connection: Connection, held: Held, action: str, note: str, actor: str) -> int:
    """Resolve the held letters and add each to the audit log. Returns the number of letters."""
    if held.letters:
        connection.execute(_CLOSE, [note, list(held.letters)])
    for letter_id in held.letters:
        audit_log.record(connection, actor, action, subject=letter_id, reason=note)
    letter_locks.let_go(connection, held.calls)
    return len(held.letters)
