"""Locks of dead letters, in the order of deliveries: calls, then the ledger, then the letters by id.

A decision about a dead letter of an effect takes its call first. Two decisions about one letter, or a decision and a
delivery of another copy of its event, therefore meet at the call before either holds another lock. This prevents
deadlocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.dead_letters.letters import COLUMNS, Dead, DeadLetter
from app.engine.domain import wiring
from app.engine.effects.calls import end_calls, seize_calls
from events import Event, Unreadable, parse_all

_READ = f"SELECT {COLUMNS} FROM engine.failed_jobs WHERE id = ANY(%s) ORDER BY id"  # noqa: S608 - a constant
# Entering an event into the ledger resolves its letter, with the start of this transaction as `resolved_at`.
_LOCK = """
SELECT f.id FROM engine.failed_jobs f
  JOIN unnest(%(ids)s::uuid[], %(deaths)s::timestamptz[]) AS wanted (id, failed_at) USING (id)
 WHERE f.failed_at = wanted.failed_at
   AND (f.resolved_at IS NULL OR f.event_id = ANY(%(entered)s) AND f.resolved_at = now())
 ORDER BY f.id FOR UPDATE OF f
"""


def read(connection: Connection, ids: Sequence[UUID]) -> list[DeadLetter]:
    """Return letters by id, ordered by id, without locks. Ids without a letter are left out."""
    return connection.cursor(row_factory=class_row(DeadLetter)).execute(_READ, [list(ids)]).fetchall()


def events_of(letters: Iterable[DeadLetter]) -> list[Event[Any]]:
    """Return the events of letters. Events that cannot be parsed are left out."""
    return [event for event in parse_all([one.event_data for one in letters]) if not isinstance(event, Unreadable)]


def seize(connection: Connection, events: Sequence[Event[Any]]) -> dict[UUID, bool]:
    """Take the calls of effects' events, as `seize_calls()` does. Call this before any letter is locked.

    Returns, by the call's key, whether the call is in doubt (begun, no recorded outcome). Calls that a live delivery
    makes are left out. Pass the result to `let_go()` afterwards.
    """
    keys = wiring().call_keys(events)
    return seize_calls(connection, keys) if keys else {}


def let_go(connection: Connection, seized: Mapping[UUID, bool]) -> None:
    """Restore calls to their state before `seize()`. Calls in doubt stay in doubt."""
    end_calls(connection, [key for key, in_doubt in seized.items() if not in_doubt])


def lock(connection: Connection, letters: Sequence[DeadLetter | Dead], entered: Collection[UUID] = ()) -> set[UUID]:
    """Lock letters in the order of their ids. Returns the ids of the letters that are unchanged since they were read.

    The other letters were dead-lettered again or resolved, and are not locked. `entered`: events that this transaction
    entered into the ledger; their letters count as unchanged although that resolved them.
    """
    wanted = {"ids": [one.id for one in letters], "deaths": [one.failed_at for one in letters]}
    return {one for (one,) in connection.execute(_LOCK, {**wanted, "entered": list(entered)})}
