"""Replay: walk through a plan at a pace, and see what comes of it.

Each letter is replayed in a transaction that takes it out of the plan, so two who replay one plan share the work, and
whoever is interrupted goes on where it was. A handler's event is published again with its own id: the ledger refuses
it if it was applied meanwhile, and the commit that applies it resolves the letter. A dead effect is revived as the
event of its next attempt; the same commit enters the dead one into the ledger.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection, Moment
from app.engine import actions
from app.engine.consume import record
from app.engine.delivery import Letter
from app.engine.letters import DeadLetter
from app.engine.plans import REPLAYED, Plan, PlanLetter
from app.engine.publish import publish, put_back
from app.engine.registry import Effect, wiring
from app.errors import Conflict, InvalidInput
from events import Event, Unreadable, parse_all

_AT_ONCE = 500
_LOOK_EVERY_S = 0.2
_ENOUGH_TO_JUDGE = 10
"""Outcomes before a percentage of failures means anything."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a plan is replayed: letters a second, how many first, and at which percentage of failures to stop."""

    rate: float | None = None
    canary: int | None = None
    stop_at: float | None = None

    def check(self) -> None:
        """Raise `InvalidInput` for what is no pace."""
        if self.rate is not None and self.rate <= 0:
            raise InvalidInput("rate: must be more than 0 a second")
        if self.canary is not None and self.canary < 1:
            raise InvalidInput("canary: must be at least 1")
        if self.stop_at is not None and not 0 <= self.stop_at <= 100:  # noqa: PLR2004 - a percentage
            raise InvalidInput("stop-at: must be a percentage, 0 to 100")


@dataclass(slots=True)
class Progress:
    """How far a replay is. `total` counts the letters that can be replayed; `stopped` says why it ended early."""

    total: int = 0
    replayed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None

    @property
    def waiting(self) -> int:
        """Letters that were replayed and have no outcome yet."""
        return self.replayed - self.outcomes.total()


_CHANGED = """
SELECT p.letter_id, CASE WHEN f.resolved_at IS NOT NULL THEN 'was resolved' ELSE 'died again' END AS what
  FROM engine.replay_plan_letters p JOIN engine.failed_jobs f ON f.id = p.letter_id
 WHERE p.plan_id = %s AND p.replayed_at IS NULL AND p.class = ANY(%s)
   AND (f.resolved_at IS NOT NULL OR f.failed_at <> p.failed_at)
 ORDER BY p.position
"""
_TAKE = """
SELECT plan_id, letter_id, position, event_id, failed_at, class AS class_, detail, replayed_at, awaited_id, outcome
  FROM engine.replay_plan_letters
 WHERE plan_id = %s AND replayed_at IS NULL AND class = ANY(%s)
 ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED
"""
_LOCK = """
SELECT id, job_type, event_data, error_message, error_stack, retry_count, failed_at, resolved_at, notes, event_id,
       tenant_id, error_class, fingerprint, replay_count, replayed_at, history, replaced_by
  FROM engine.failed_jobs WHERE id = ANY(%s) ORDER BY id FOR UPDATE
"""
_REPLAYED = """
UPDATE engine.replay_plan_letters p
   SET replayed_at = clock_timestamp(), awaited_id = r.awaited_id, outcome = r.outcome
  FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) AS r (letter_id, awaited_id, outcome)
 WHERE p.plan_id = %s AND p.letter_id = r.letter_id
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
_OVER = "DELETE FROM engine.calls WHERE event_id = ANY(%s)"
_LOOK = """
UPDATE engine.replay_plan_letters p
   SET outcome = CASE WHEN EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = p.awaited_id) THEN 'applied'
                      ELSE 'dead' END
 WHERE p.plan_id = %s AND p.replayed_at IS NOT NULL AND p.outcome IS NULL
   AND (EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = p.awaited_id)
        OR EXISTS (SELECT FROM engine.failed_jobs f WHERE f.event_id = p.awaited_id AND f.failed_at > p.replayed_at))
"""
_COUNT = """
SELECT count(*), count(replayed_at), count(*) FILTER (WHERE outcome = 'applied'),
       count(*) FILTER (WHERE outcome = 'dead'), count(*) FILTER (WHERE outcome = 'skipped')
  FROM engine.replay_plan_letters WHERE plan_id = %s AND class = ANY(%s)
"""
_FINISH = """
UPDATE engine.replay_plans SET finished_at = now()
 WHERE id = %s AND finished_at IS NULL AND NOT EXISTS (
       SELECT FROM engine.replay_plan_letters p WHERE p.plan_id = %s AND p.class = ANY(%s) AND p.outcome IS NULL)
"""


def check_fresh(connection: Connection, plan: Plan) -> None:
    """Raise `Conflict` if letters that the plan has still to replay have changed since it was made."""
    changed = connection.execute(_CHANGED, [plan.id, list(REPLAYED)]).fetchall()
    connection.commit()
    if changed:
        named = ", ".join(f"{letter_id} {what}" for letter_id, what in changed[:10])
        more = f" and {len(changed) - 10} more" if len(changed) > 10 else ""  # noqa: PLR2004 - as many as are named
        raise Conflict(f"plan {plan.id} is stale: {named}{more}; make a new one with `dead plan`")


def run(
    connection: Connection, plan: Plan, pace: Pace, *, actor: str, reason: str | None, show: Callable[[Progress], None]
) -> Progress:
    """Replay what is left of a plan, and wait for what comes of it.

    The connection must be outside a transaction. `show` is called after every step. Interrupted, it leaves the plan
    as it then is; called again, it goes on. Raises `Conflict` for a plan that is stale, `InvalidInput` for a pace.
    """
    pace.check()
    check_fresh(connection, plan)
    with connection.transaction():
        asked = {"rate": pace.rate, "canary": pace.canary, "stop_at": pace.stop_at}
        actions.record(connection, actor, "replay", subject=plan.id, reason=reason, details=asked)
    progress = _look(connection, plan)
    if pace.canary is not None and not progress.replayed:
        _canary(connection, plan, pace.canary, progress, show)
    began, before = time.monotonic(), progress.replayed
    while progress.stopped is None and (room := _room(pace, began, before, progress)) is not None:
        # None taken although there is room: somebody else has the rest in hand right now, or waits for outcomes.
        if not room or not _step(connection, plan, room):
            time.sleep(_LOOK_EVERY_S)
        progress = _look(connection, plan)
        show(progress)
        _stop_if_too_many(pace, progress)
    return _finish(connection, plan, pace, actor, progress, show)


def _canary(
    connection: Connection, plan: Plan, size: int, progress: Progress, show: Callable[[Progress], None]
) -> None:
    """Replay the first few and wait: go on only if every one of them applied."""
    _step(connection, plan, size)
    seen = _wait(connection, plan, show)
    progress.replayed, progress.outcomes = seen.replayed, seen.outcomes
    if seen.outcomes["dead"]:
        progress.stopped = f"{seen.outcomes['dead']} of the first {seen.replayed} died again"


def _room(pace: Pace, began: float, before: int, progress: Progress) -> int | None:
    """How many letters may be replayed now; None when all have been."""
    if progress.replayed >= progress.total:
        return None
    if pace.rate is None:
        # To stop in time one must not be far ahead of what is known.
        return _AT_ONCE if pace.stop_at is None else max(0, _ENOUGH_TO_JUDGE - progress.waiting)
    due = int((time.monotonic() - began) * pace.rate) + 1
    return max(0, min(_AT_ONCE, due - (progress.replayed - before)))


def _stop_if_too_many(pace: Pace, progress: Progress) -> None:
    known = progress.outcomes.total()
    if pace.stop_at is None or known < min(_ENOUGH_TO_JUDGE, progress.replayed):
        return
    if progress.outcomes["dead"] * 100 > pace.stop_at * known:
        progress.stopped = f"{progress.outcomes['dead']} of {known} died again, more than {pace.stop_at:g} %"


def _finish(
    connection: Connection, plan: Plan, pace: Pace, actor: str, progress: Progress, show: Callable[[Progress], None]
) -> Progress:
    stopped = progress.stopped
    progress = _wait(connection, plan, show)
    _stop_if_too_many(pace, progress)
    progress.stopped = stopped
    with connection.transaction():
        connection.execute(_FINISH, [plan.id, plan.id, list(REPLAYED)])
        details = {"replayed": progress.replayed, **progress.outcomes, "stopped": stopped}
        actions.record(connection, actor, "replayed", subject=plan.id, details=details)
    return progress


def _wait(connection: Connection, plan: Plan, show: Callable[[Progress], None]) -> Progress:
    while True:
        progress = _look(connection, plan)
        show(progress)
        if progress.waiting <= 0:
            return progress
        time.sleep(_LOOK_EVERY_S)


def _look(connection: Connection, plan: Plan) -> Progress:
    """Note outcomes that have come, and count."""
    with connection.transaction():
        connection.execute(_LOOK, [plan.id])
        row = connection.execute(_COUNT, [plan.id, list(REPLAYED)]).fetchone()
    total, replayed, *outcomes = row or (0, 0, 0, 0, 0)
    counts = dict(zip(("applied", "dead", "skipped"), outcomes, strict=True))
    return Progress(total, replayed, Counter({name: count for name, count in counts.items() if count}))


def _step(connection: Connection, plan: Plan, most: int) -> int:
    """Replay up to so many letters in one transaction; returns how many were taken out of the plan."""
    with connection.transaction():
        cursor = connection.cursor(row_factory=class_row(PlanLetter))
        taken = cursor.execute(_TAKE, [plan.id, list(REPLAYED), most]).fetchall()
        if taken:
            ends = _replay(connection, taken)
            connection.execute(
                _REPLAYED, [[e.letter_id for e in ends], [e.awaited for e in ends], [e.outcome for e in ends], plan.id]
            )
    return len(taken)


@dataclass(frozen=True, slots=True)
class _End:
    """What became of a letter when it was replayed: the event to wait for, or an outcome at once."""

    letter_id: UUID
    awaited: UUID | None = None
    outcome: str | None = None


def _replay(connection: Connection, taken: Sequence[PlanLetter]) -> list[_End]:
    cursor = connection.cursor(row_factory=class_row(DeadLetter))
    found = {letter.id: letter for letter in cursor.execute(_LOCK, [[one.letter_id for one in taken]])}
    ends: list[_End] = []
    alive: list[DeadLetter] = []
    for one in taken:
        letter = found.get(one.letter_id)
        if letter is None or letter.resolved_at is not None or letter.failed_at != one.failed_at:
            ends.append(_End(one.letter_id, outcome="skipped"))
        elif one.class_ == "already_applied":
            connection.execute(_CLOSE, [[letter.id], [f"nothing to replay: {one.detail}"], [None]])
            ends.append(_End(letter.id, outcome="applied"))
        else:
            alive.append(letter)
    connection.execute(_COUNT_REPLAY, [[letter.id for letter in alive]])
    return ends + _deliver(connection, alive)


def _deliver(connection: Connection, found: Sequence[DeadLetter]) -> list[_End]:
    """Publish handlers' events as they are, and revive effects; what cannot be read any more is skipped."""
    ends: list[_End] = []
    dead: dict[type[object], list[tuple[DeadLetter, Event[object]]]] = {}  # type: ignore[type-var]
    for letter, event in zip(found, parse_all([letter.event_data for letter in found]), strict=True):
        if isinstance(event, Unreadable):
            ends.append(_End(letter.id, outcome="skipped"))
        elif (effect := wiring().effects.get(type(event.data))) is not None and effect.revive:
            dead.setdefault(type(event.data), []).append((letter, event))
        else:
            put_back(connection, [(event, letter.event_data)], delay=0, attempt=0)
            ends.append(_End(letter.id, event.id))
    for kind, some in dead.items():
        ends += _revive(connection, wiring().effects[kind], some)  # type: ignore[index]
    return ends


def _revive(
    connection: Connection,
    effect: Effect,
    dead: Sequence[tuple[DeadLetter, Event[object]]],  # type: ignore[type-var]
) -> list[_End]:
    if effect.revive is None:
        raise TypeError(effect)
    revived = effect.revive(Moment.begin(connection), [event for _, event in dead])
    publish(connection, *revived.values())
    record(connection, [Letter(0, 0, letter.event_data, event) for letter, event in dead])
    connection.execute(_OVER, [[event.id for _, event in dead]])
    notes = [
        f"revived as event {revived[event.id].id}" if event.id in revived else "nothing to revive: it was overtaken"
        for _, event in dead
    ]
    replaced = [revived[event.id].id if event.id in revived else None for _, event in dead]
    connection.execute(_CLOSE, [[letter.id for letter, _ in dead], notes, replaced])
    return [
        _End(letter.id, revived[event.id].id) if event.id in revived else _End(letter.id, outcome="applied")
        for letter, event in dead
    ]
