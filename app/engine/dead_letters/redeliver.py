"""Redelivery: what is done with dead letters that are replayed, in the transaction that takes them out of a plan.

A handler's event is published again with its own id: the ledger refuses it if it was applied meanwhile. A dead effect
is revived as the event of its next attempt; the same commit enters the dead one into the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection, Moment
from app.engine.dead_letters.letters import DeadLetter
from app.engine.dead_letters.plan import PlanLetter
from app.engine.delivery.ledger import record
from app.engine.domain import Effect, wiring
from app.engine.effects.calls import end_calls, let_settle, seize_calls, unsettled
from app.engine.queue.envelope import Letter
from app.engine.queue.publish import publish, put_back
from events import Event, Unreadable, parse_all

_LOCK = """
SELECT id, job_type, event_data, error_message, error_stack, retry_count, failed_at, resolved_at, notes, event_id,
       tenant_id, error_class, fingerprint, replay_count, replayed_at, history, replaced_by
  FROM engine.failed_jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE
"""
_COUNT_REPLAY = """
UPDATE engine.failed_jobs SET replay_count = replay_count + 1, replayed_at = clock_timestamp() WHERE id = ANY(%s)
"""
_CLOSE = """
UPDATE engine.failed_jobs f
   SET resolved_at = coalesce(f.resolved_at, now()), notes = concat_ws(E'\\n', f.notes, r.note),
       replaced_by = coalesce(r.replaced_by, f.replaced_by)
  FROM unnest(%s::uuid[], %s::text[], %s::uuid[]) AS r (id, note, replaced_by)
 WHERE f.id = r.id
"""


@dataclass(frozen=True, slots=True)
class End:
    """What became of a letter when it was replayed: the event to wait for, or an outcome at once."""

    letter_id: UUID
    awaited: UUID | None = None
    outcome: str | None = None


def redeliver(connection: Connection, taken: Sequence[PlanLetter], *, again: bool = False) -> list[End]:
    """Replay letters that were taken out of a plan; what became of each, or which event's end will tell.

    A call in doubt whose other side cannot be asked is skipped, or with `again` made again.
    """
    cursor = connection.cursor(row_factory=class_row(DeadLetter))
    found = {letter.id: letter for letter in cursor.execute(_LOCK, [[one.letter_id for one in taken]])}
    ends: list[End] = []
    alive: list[DeadLetter] = []
    for one in taken:
        letter = found.get(one.letter_id)
        if letter is None or letter.resolved_at is not None or letter.failed_at != one.failed_at:
            ends.append(End(one.letter_id, outcome="skipped"))
        elif one.class_ == "already_applied":
            connection.execute(_CLOSE, [[letter.id], [f"nothing to replay: {one.detail}"], [None]])
            ends.append(End(letter.id, outcome="applied"))
        else:
            alive.append(letter)
    connection.execute(_COUNT_REPLAY, [[letter.id for letter in alive]])
    return ends + _deliver(connection, alive, again=again)


def _deliver(connection: Connection, found: Sequence[DeadLetter], *, again: bool) -> list[End]:
    """Publish handlers' events as they are, and revive effects; what cannot be read any more is skipped."""
    ends: list[End] = []
    dead: dict[type[Any], list[tuple[DeadLetter, Event[Any]]]] = {}
    read = parse_all([letter.event_data for letter in found])
    closed = _not_to_be_called(connection, [event for event in read if isinstance(event, Event)], again=again)
    for letter, event in zip(found, read, strict=True):
        if isinstance(event, Unreadable) or event.id in closed:
            ends.append(End(letter.id, outcome="skipped"))
        elif (effect := wiring().effects.get(type(event.data))) is not None and effect.revive:
            dead.setdefault(type(event.data), []).append((letter, event))
        else:
            put_back(connection, [(event, letter.event_data)], delay=0, attempt=0)
            ends.append(End(letter.id, event.id))
    for kind, some in dead.items():
        ends += _revive(connection, wiring().effects[kind], some)
    return ends


def _not_to_be_called(connection: Connection, dead: Sequence[Event[Any]], *, again: bool) -> set[UUID]:
    """Events whose call may have been made and cannot be asked about, by their ids; with `again` none, but live ones.

    With `again` such a call counts as not made.
    """
    unasked = [
        event for event in dead if (effect := wiring().effects.get(type(event.data))) and not effect.can_be_asked
    ]
    if not unasked:
        return set()
    keys = wiring().call_keys(unasked)
    seized = seize_calls(connection, keys)
    settled = [key for key, in_doubt in seized.items() if again or not in_doubt]
    end_calls(connection, settled)
    return {event_id for event_id, key in keys.items() if key not in settled}


def _revive(
    connection: Connection,
    effect: Effect,
    dead: Sequence[tuple[DeadLetter, Event[Any]]],
) -> list[End]:
    if effect.revive is None:
        raise TypeError(effect)
    keys = {event.id: effect.key(event) for _, event in dead}
    seized = seize_calls(connection, keys)
    # Another copy of such an event is being called: what comes of that decides.
    busy = [End(letter.id, outcome="skipped") for letter, event in dead if keys[event.id] not in seized]
    dead = [(letter, event) for letter, event in dead if keys[event.id] in seized]
    in_doubt = [key for key, is_doubtful in seized.items() if is_doubtful]
    let_settle(connection, in_doubt, effect.settle())
    revived = effect.revive(Moment.begin(connection), [event for _, event in dead])
    # The other side may still be at work on the call that is in doubt: the next attempt asks it about that one.
    publish(connection, *revived.values(), delay=unsettled(connection, in_doubt))
    record(connection, [Letter(0, 0, letter.event_data, event) for letter, event in dead])
    end_calls(connection, list(seized))
    notes = [
        f"revived as event {revived[event.id].id}" if event.id in revived else "nothing to revive: it was overtaken"
        for _, event in dead
    ]
    replaced = [revived[event.id].id if event.id in revived else None for _, event in dead]
    connection.execute(_CLOSE, [[letter.id for letter, _ in dead], notes, replaced])
    return busy + [
        End(letter.id, revived[event.id].id) if event.id in revived else End(letter.id, outcome="applied")
        for letter, event in dead
    ]
