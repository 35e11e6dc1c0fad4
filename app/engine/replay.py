"""Replay: walk through a plan at a pace, and see what comes of it.

Each letter is replayed in a transaction that takes it out of the plan, so two who replay one plan share the work, and
whoever is interrupted goes on where it was. What is done with a letter then is `redelivery`'s; what came of it is
looked up in the ledger and among the dead letters.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from psycopg.rows import class_row

from app.context import Connection
from app.engine import actions
from app.engine.plans import REPLAYED, Plan, PlanLetter
from app.engine.redelivery import redeliver
from app.errors import Conflict, InvalidInput

_AT_ONCE = 500
_LOOK_EVERY_S = 0.2
_ENOUGH_TO_JUDGE = 10
"""Outcomes before a percentage of failures means anything."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a plan is replayed: letters a second, how many first, and at which percentage of failures to stop.

    `again`: calls in doubt whose other side cannot be asked are made again.
    """

    rate: float | None = None
    canary: int | None = None
    stop_at: float | None = None
    again: bool = False

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
_REPLAYED = """
UPDATE engine.replay_plan_letters p
   SET replayed_at = clock_timestamp(), awaited_id = r.awaited_id, outcome = r.outcome
  FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) AS r (letter_id, awaited_id, outcome)
 WHERE p.plan_id = %s AND p.letter_id = r.letter_id
"""
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
_USE = "UPDATE engine.replay_plans SET last_used_at = now() WHERE id = %s AND expired_at IS NULL"
_FINISH = """
UPDATE engine.replay_plans
   SET last_used_at = now(), finished_at = CASE WHEN NOT EXISTS (
           SELECT FROM engine.replay_plan_letters p
            WHERE p.plan_id = %s AND p.class = ANY(%s) AND p.outcome IS NULL) THEN coalesce(finished_at, now()) END
 WHERE id = %s
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
    connection: Connection,
    plan: Plan,
    pace: Pace,
    *,
    actor: str,
    reason: str | None,
    show: Callable[[Progress], None],
) -> Progress:
    """Replay what is left of a plan, and wait for what comes of it.

    The connection must be outside a transaction. `show` is called after every step. Interrupted, it leaves the plan
    as it then is; called again, it goes on. Raises `Conflict` for a plan that is stale, `InvalidInput` for a pace.
    """
    pace.check()
    if pace.again and not reason:
        raise InvalidInput("reason: say with --reason why calls that may have been made are made again")
    check_fresh(connection, plan)
    with connection.transaction():
        if not connection.execute(_USE, [plan.id]).rowcount:
            raise Conflict(f"plan {plan.id} has expired, it was not used for long; make a new one with `dead plan`")
        asked = {"rate": pace.rate, "canary": pace.canary, "stop_at": pace.stop_at, "again": pace.again}
        actions.record(connection, actor, "replay", subject=plan.id, reason=reason, details=asked)
    progress = _look(connection, plan)
    if pace.canary is not None and not progress.replayed:
        _canary(connection, plan, pace, progress, show)
    began, before = time.monotonic(), progress.replayed
    while progress.stopped is None and (room := _room(pace, began, before, progress)) is not None:
        # None taken although there is room: somebody else has the rest in hand right now, or waits for outcomes.
        if not room or not _step(connection, plan, room, again=pace.again):
            time.sleep(_LOOK_EVERY_S)
        progress = _look(connection, plan)
        show(progress)
        _stop_if_too_many(pace, progress)
    return _finish(connection, plan, pace, actor, progress, show)


def _canary(
    connection: Connection, plan: Plan, pace: Pace, progress: Progress, show: Callable[[Progress], None]
) -> None:
    """Replay the first few and wait: go on only if every one of them applied."""
    _step(connection, plan, pace.canary or 1, again=pace.again)
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
        connection.execute(_FINISH, [plan.id, list(REPLAYED), plan.id])
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


def _step(connection: Connection, plan: Plan, most: int, *, again: bool) -> int:
    """Replay up to so many letters in one transaction; returns how many were taken out of the plan."""
    with connection.transaction():
        cursor = connection.cursor(row_factory=class_row(PlanLetter))
        taken = cursor.execute(_TAKE, [plan.id, list(REPLAYED), most]).fetchall()
        if taken:
            ends = redeliver(connection, taken, again=again)
            connection.execute(
                _REPLAYED, [[e.letter_id for e in ends], [e.awaited for e in ends], [e.outcome for e in ends], plan.id]
            )
    return len(taken)
