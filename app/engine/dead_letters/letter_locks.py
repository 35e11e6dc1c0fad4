"""Locks of dead letters, in the order of deliveries: calls, then the ledger, then the letters by id.

A decision about a dead letter of an effect first takes its call. So two decisions about one letter, and a
delivery of another copy of its event, wait for each other at the call, and hold nothing yet that the other needs.
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
# Those that this transaction has entered into the ledger are resolved by that, at the time of this transaction.
_LOCK = """
SELECT f.id FROM engine.failed_jobs f
  JOIN unnest(%(ids)s::uuid[], %(deaths)s::timestamptz[]) AS wanted (id, failed_at) USING (id)
 WHERE f.failed_at = wanted.failed_at
   AND (f.resolved_at IS NULL OR f.event_id = ANY(%(entered)s) AND f.resolved_at = now())
 ORDER BY f.id FOR UPDATE OF f
"""


def read(connection: Connection, ids: Sequence[UUID]) -> list[DeadLetter]:
    """Letters by id, not locked; those that do not exist are not there."""
    return connection.cursor(row_factory=class_row(DeadLetter)).execute(_READ, [list(ids)]).fetchall()


def events_of(letters: Iterable[DeadLetter]) -> list[Event[Any]]:
    """The events of letters, without what cannot be read."""
    return [event for event in parse_all([one.event_data for one in letters]) if not isinstance(event, Unreadable)]


def seize(connection: Connection, events: Sequence[Event[Any]]) -> dict[UUID, bool]:
    """Take the calls that effects' events ask for, as `seize_calls()` does; before any letter is locked.

    Returns, by the call's key, whether it was begun before and has no outcome; calls that a live delivery makes are
    not there. `let_go()` of what is returned.
    """
    keys = wiring().call_keys(events)
    return seize_calls(connection, keys) if keys else {}


def let_go(connection: Connection, seized: Mapping[UUID, bool]) -> None:
    """Leave calls as they were before `seize()`: those in doubt stay in doubt."""
    end_calls(connection, [key for key, in_doubt in seized.items() if not in_doubt])


def lock(connection: Connection, letters: Sequence[DeadLetter | Dead], entered: Collection[UUID] = ()) -> set[UUID]:
    """Lock letters in the order of their ids; the ids of those that are as they were read.

    The others died again, or were resolved, since then. `entered`: events that this transaction has entered into the
    ledger, which resolved their letters.
    """
    wanted = {"ids": [one.id for one in letters], "deaths": [one.failed_at for one in letters]}
    return {one for (one,) in connection.execute(_LOCK, {**wanted, "entered": list(entered)})}
