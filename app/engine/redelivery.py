"""Redelivery: what is done with dead letters that are replayed, in the transaction that takes them out of a plan.

A handler's event is published again with its own id: the ledger refuses it if it was applied meanwhile. A dead effect
is revived as the event of its next attempt; the same commit enters the dead one into the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.errors import SerializationFailure
from psycopg.rows import class_row

from app.context import Connection, Moment
from app.engine.delivery import Letter
from app.engine.ledger import record
from app.engine.letters import DeadLetter
from app.engine.parcel import end_calls, let_settle, seize_calls, unsettled
from app.engine.plans import PlanLetter
from app.engine.publish import publish, put_back
from app.engine.registry import Effect, wiring
from events import Event, Unreadable, parse_all

_READ = """
SELECT id, job_type, event_data, error_message, error_stack, retry_count, failed_at, resolved_at, notes, event_id,
       tenant_id, error_class, fingerprint, replay_count, replayed_at, history, replaced_by
  FROM engine.failed_jobs WHERE id = ANY(%s)
"""
# Those that this transaction has entered into the ledger are resolved by that, at the time of this transaction.
_LOCK = """
SELECT f.id FROM engine.failed_jobs f
  JOIN unnest(%(ids)s::uuid[], %(deaths)s::timestamptz[]) AS wanted (id, failed_at) USING (id)
 WHERE f.failed_at = wanted.failed_at
   AND (f.resolved_at IS NULL OR f.id = ANY(%(entered)s) AND f.resolved_at = now())
 ORDER BY f.id FOR UPDATE OF f
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


@dataclass(frozen=True, slots=True)
class _Dead:
    """A letter that is being replayed, and its event."""

    letter: DeadLetter
    event: Event[Any]


def redeliver(connection: Connection, taken: Sequence[PlanLetter], *, again: bool = False) -> list[End]:
    """Replay letters that were taken out of a plan; what became of each, or which event's end will tell.

    A call in doubt whose other side cannot be asked is skipped, or with `again` made again. Locks are taken in the
    order of every delivery: calls, the ledger, letters, jobs. Raises `SerializationFailure` if a letter was changed
    by somebody else meanwhile: the transaction can be repeated.
    """
    cursor = connection.cursor(row_factory=class_row(DeadLetter))
    found = {letter.id: letter for letter in cursor.execute(_READ, [[one.letter_id for one in taken]])}
    ends: list[End] = []
    alive: list[DeadLetter] = []
    idle: list[tuple[DeadLetter, str]] = []
    for one in taken:
        letter = found.get(one.letter_id)
        if letter is None or letter.resolved_at is not None or letter.failed_at != one.failed_at:
            ends.append(End(one.letter_id, outcome="skipped"))
        elif one.class_ == "already_applied":
            idle.append((letter, f"nothing to replay: {one.detail}"))
            ends.append(End(letter.id, outcome="applied"))
        else:
            alive.append(letter)
    ends += _deliver(connection, alive, [letter for letter, _ in idle], again=again)
    connection.execute(_CLOSE, [[letter.id for letter, _ in idle], [note for _, note in idle], [None] * len(idle)])
    return ends


def _deliver(
    connection: Connection, found: Sequence[DeadLetter], others: Sequence[DeadLetter], *, again: bool
) -> list[End]:
    """Publish handlers' events as they are, and revive effects; what cannot be read any more is skipped.

    The letters of the plan's step that are closed, `others`, are locked with these.
    """
    ends: list[End] = []
    plain: list[_Dead] = []
    dead: dict[type[Any], list[_Dead]] = {}
    read = parse_all([letter.event_data for letter in found])
    closed = _not_to_be_called(connection, [event for event in read if isinstance(event, Event)], again=again)
    for letter, event in zip(found, read, strict=True):
        if isinstance(event, Unreadable) or event.id in closed:
            ends.append(End(letter.id, outcome="skipped"))
        elif (effect := wiring().effects.get(type(event.data))) is not None and effect.revive:
            dead.setdefault(type(event.data), []).append(_Dead(letter, event))
        else:
            plain.append(_Dead(letter, event))
    seized = {kind: seize_calls(connection, _keys(wiring().effects[kind], some)) for kind, some in dead.items()}
    entered = _enter(connection, dead, seized, ends)
    revived = [one.letter for some in entered.values() for one in some]
    _lock(connection, [*found, *others], revived, ends)
    connection.execute(_COUNT_REPLAY, [[letter.id for letter in found]])
    for one in plain:
        put_back(connection, [(one.event, one.letter.event_data)], delay=0, attempt=0)
        ends.append(End(one.letter.id, one.event.id))
    for kind, some in entered.items():
        ends += _revive(connection, wiring().effects[kind], some, seized[kind])
    return ends


def _keys(effect: Effect, dead: Sequence[_Dead]) -> dict[UUID, UUID]:
    return {one.event.id: effect.key(one.event) for one in dead}


def _enter(
    connection: Connection,
    dead: Mapping[type[Any], Sequence[_Dead]],
    seized: Mapping[type[Any], Mapping[UUID, bool]],
    ends: list[End],
) -> dict[type[Any], list[_Dead]]:
    """Enter dead effects into the ledger; those that are this transaction's to revive. The others get their `ends`.

    Where another copy of such an event is being called, what comes of that decides. What the ledger has already was
    applied meanwhile.
    """
    free: dict[type[Any], list[_Dead]] = {}
    for kind, some in dead.items():
        keys = _keys(wiring().effects[kind], some)
        free[kind] = [one for one in some if keys[one.event.id] in seized[kind]]
        ends += [End(one.letter.id, outcome="skipped") for one in some if keys[one.event.id] not in seized[kind]]
    whole = [one for some in free.values() for one in some]
    fresh = {
        event.id for event in record(connection, [Letter(0, 0, one.letter.event_data, one.event) for one in whole])
    }
    ends += [End(one.letter.id, outcome="applied") for one in whole if one.event.id not in fresh]
    return {kind: [one for one in some if one.event.id in fresh] for kind, some in free.items()}


def _lock(
    connection: Connection, found: Sequence[DeadLetter], revived: Sequence[DeadLetter], ends: Sequence[End]
) -> None:
    """Lock the letters of which something is done. Raises `SerializationFailure` if one was changed meanwhile."""
    over = {end.letter_id for end in ends if end.outcome == "applied"}
    wanted = [letter for letter in found if letter.id not in over]
    ids = [letter.id for letter in wanted]
    deaths = [letter.failed_at for letter in wanted]
    entered = [letter.id for letter in revived]
    locked = connection.execute(_LOCK, {"ids": ids, "deaths": deaths, "entered": entered}).fetchall()
    if len(locked) < len(wanted):
        raise SerializationFailure("a dead letter was changed by somebody else meanwhile")


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


def _revive(connection: Connection, effect: Effect, dead: Sequence[_Dead], seized: Mapping[UUID, bool]) -> list[End]:
    if effect.revive is None:
        raise TypeError(effect)
    in_doubt = [key for key, is_doubtful in seized.items() if is_doubtful]
    let_settle(connection, in_doubt, effect.settle())
    revived = effect.revive(Moment.begin(connection), [one.event for one in dead])
    # The other side may still be at work on the call that is in doubt: the next attempt asks it about that one.
    publish(connection, *revived.values(), delay=unsettled(connection, in_doubt))
    end_calls(connection, list(seized))
    notes = [
        f"revived as event {revived[one.event.id].id}"
        if one.event.id in revived
        else "nothing to revive: it was overtaken"
        for one in dead
    ]
    replaced = [revived[one.event.id].id if one.event.id in revived else None for one in dead]
    connection.execute(_CLOSE, [[one.letter.id for one in dead], notes, replaced])
    return [
        End(one.letter.id, revived[one.event.id].id)
        if one.event.id in revived
        else End(one.letter.id, outcome="applied")
        for one in dead
    ]
