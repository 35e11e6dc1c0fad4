"""Redeliver dead letters in the transaction that takes them from a replay plan.

A handler's event is published again with its own id. The ledger rejects it if it was applied meanwhile. A dead effect
is revived as the event of its next attempt, and the same commit enters the dead event into the ledger.

Locks are taken in the order of deliveries: calls, the ledger, letters, then what `revive` locks (jobs, items, orders).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Rollback

from app.context import Connection, HandlerContext
from app.engine.dead_letters import letter_locks
from app.engine.dead_letters.forecast import taken as taken_ids
from app.engine.dead_letters.letters import DeadLetter
from app.engine.dead_letters.plan import PlanLetter
from app.engine.delivery.ledger import enter
from app.engine.domain import Effect, wiring
from app.engine.effects.calls import begin_grace_period, end_calls, grace_left
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish, put_back
from events import Event, Unreadable, parse_all

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
    """The result of redelivering a letter: the id of the event to wait for, or an immediate outcome."""

    letter_id: UUID
    awaited: UUID | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class _Dead:
    """A letter to be replayed, its event, and the event's effect; None for a handler's event."""

    letter: DeadLetter
    event: Event[Any]
    effect: Effect | None

    @property
    def key(self) -> UUID | None:
        """The key of the event's call; None for a handler's event."""
        return self.effect.key(self.event) if self.effect else None

    @property
    def is_revived(self) -> bool:
        """Whether a new event replaces it. Otherwise the event is published again."""
        return self.effect is not None and self.effect.revive is not None


def redeliver(connection: Connection, taken: Sequence[PlanLetter], *, again: bool = False) -> list[End]:
    """Redeliver letters that were taken from a plan. Returns per letter its outcome, or the event to wait for.

    Skips letters that have changed since the plan was made. Skips calls in doubt whose other side cannot be asked;
    with `again` they are made again.
    """
    found = _unchanged(connection, taken)
    read = dict(zip(found, parse_all([letter.event_data for letter in found.values()]), strict=True))
    seized = letter_locks.seize(connection, [event for event in read.values() if not isinstance(event, Unreadable)])
    idle = {one.letter_id: one.detail for one in taken if one.letter_id in found and one.class_ == "already_applied"}
    dead = [one for one in _dead(found, read) if one.letter.id not in idle and _may_go(one, seized, again=again)]
    held, fresh = _enter_and_lock(connection, [found[one] for one in idle], dead)
    dead = [one for one in dead if one.letter.id in held]
    late = [one for one in dead if one.is_revived and one.event.id not in fresh]
    apart = taken_ids(connection, [(one.letter, one.event) for one in late])
    over = {one.letter.id: "the ledger has it" for one in late if one.letter.id not in apart}
    ends = _close(connection, {one: detail for one, detail in {**idle, **over}.items() if one in held})
    ends += _deliver(connection, [one for one in dead if one not in late], seized, again=again)
    ended = {end.letter_id for end in ends}
    return ends + [End(one.letter_id, outcome="skipped") for one in taken if one.letter_id not in ended]


def _unchanged(connection: Connection, taken: Sequence[PlanLetter]) -> dict[UUID, DeadLetter]:
    """Return the letters that are unchanged since the plan was made, by id, in the plan's order."""
    found = {letter.id: letter for letter in letter_locks.read(connection, [one.letter_id for one in taken])}
    return {
        one.letter_id: letter
        for one in taken
        if (letter := found.get(one.letter_id)) and letter.resolved_at is None and letter.failed_at == one.failed_at
    }


def _dead(found: Mapping[UUID, DeadLetter], read: Mapping[UUID, Event[Any] | Unreadable]) -> Iterator[_Dead]:
    for letter_id, event in read.items():
        if not isinstance(event, Unreadable):
            yield _Dead(found[letter_id], event, wiring().effects.get(type(event.data)))


def _may_go(dead: _Dead, seized: Mapping[UUID, bool], *, again: bool) -> bool:
    """Whether a dead event may be replayed.

    While another delivery makes its call, only an event that is published again and can be asked about may be replayed.
    A call in doubt whose other side cannot be asked may be replayed only with `again`.
    """
    if dead.effect is None or dead.key is None:
        return True
    if dead.key not in seized:
        return not dead.is_revived and dead.effect.can_be_asked
    return dead.effect.can_be_asked or again or not seized[dead.key]


def _enter_and_lock(
    connection: Connection, idle: Sequence[DeadLetter], dead: Sequence[_Dead]
) -> tuple[set[UUID], set[UUID]]:
    """Enter the events to be revived into the ledger, then lock all letters.

    Returns the ids of the letters that are unchanged, and the ids of the events that were entered. If a letter has
    changed, rolls back to the savepoint and repeats without it.
    """
    while True:
        with connection.transaction() as savepoint:
            revived = [QueuedEvent(0, 0, one.letter.event_data, one.event) for one in dead if one.is_revived]
            fresh = {event.id for event in enter(connection, revived)}
            wanted = [*idle, *(one.letter for one in dead)]
            held = letter_locks.lock(connection, wanted, fresh)
            if len(held) < len(wanted):
                raise Rollback(savepoint)
        if len(held) == len(wanted):
            return held, fresh
        idle = [letter for letter in idle if letter.id in held]
        dead = [one for one in dead if one.letter.id in held]


def _close(connection: Connection, details: Mapping[UUID, str | None]) -> list[End]:
    """Resolve locked letters that need no replay. `details`: the reason, by the letter's id."""
    notes = [f"nothing to replay: {detail}" for detail in details.values()]
    connection.execute(_CLOSE, [list(details), notes, [None] * len(notes)])
    return [End(letter_id, outcome="applied") for letter_id in details]


def _deliver(connection: Connection, dead: Sequence[_Dead], seized: Mapping[UUID, bool], *, again: bool) -> list[End]:
    """Publish the events of locked letters again, revive effects, and release the seized calls."""
    connection.execute(_COUNT_REPLAY, [[one.letter.id for one in dead]])
    ends: list[End] = []
    by_kind: dict[type[Any], list[_Dead]] = {}
    made_again: list[UUID] = []
    for one in dead:
        if one.is_revived:
            by_kind.setdefault(type(one.event.data), []).append(one)
            continue
        if again and one.effect is not None and one.key is not None and not one.effect.can_be_asked:
            made_again.append(one.key)
        put_back(connection, [(one.event, one.letter.event_data)], delay=0, attempt=0)
        ends.append(End(one.letter.id, one.event.id))
    for kind in sorted(by_kind, key=lambda payload: payload.type):
        ends += _revive(connection, wiring().effects[kind], by_kind[kind], seized)
    # Remove calls that were not begun before, and calls to be made again: both count as not made.
    end_calls(connection, [*made_again, *(key for key, in_doubt in seized.items() if not in_doubt)])
    return ends


def _revive(connection: Connection, effect: Effect, dead: Sequence[_Dead], seized: Mapping[UUID, bool]) -> list[End]:
    if effect.revive is None:
        raise TypeError(effect)
    keys = [effect.key(one.event) for one in dead]
    in_doubt = [key for key in keys if seized[key] and effect.can_be_asked]
    begin_grace_period(connection, in_doubt, effect.grace_period())
    revived = effect.revive(HandlerContext.begin(connection), [one.event for one in dead])
    # The other side may still be processing the call in doubt. The next attempt asks about that call.
    publish(connection, *revived.values(), delay=grace_left(connection, in_doubt))
    end_calls(connection, keys)
    new = {one.letter.id: revived[one.event.id].id if one.event.id in revived else None for one in dead}
    notes = [f"revived as event {it}" if it else "nothing to revive: it was overtaken" for it in new.values()]
    connection.execute(_CLOSE, [list(new), notes, list(new.values())])
    return [End(letter_id, it, None if it else "applied") for letter_id, it in new.items()]
