"""Run a replay plan of dead letters: rate limit, canary, stop at a failure percentage, and wait for outcomes.

A letter is redelivered in the transaction that takes it from the plan. Two concurrent replays of one plan therefore
share the work, and an interrupted replay can be resumed. Outcomes are read from the ledger and the dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from psycopg.rows import class_row

from app.context import Connection
from app.engine import audit_log
from app.engine.dead_letters.awaited import LOOK_EVERY_S, Patience, Progress, count, read_progress
from app.engine.dead_letters.forecast import REPLAYED
from app.engine.dead_letters.plan import Plan, PlanLetter
from app.engine.dead_letters.redeliver import redeliver
from app.errors import Conflict, InvalidInput

log = structlog.get_logger(__name__)

_AT_ONCE = 500
_ENOUGH_TO_JUDGE = 10
"""Outcomes needed before the percentage of failures is evaluated."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How to run a replay plan.

    `rate`: letters a second; None: no limit. `canary`: letters to replay and wait for first. `stop_at`: percentage of
    failures, 0 to 100, above which the replay stops. `again`: repeat calls in doubt whose other side cannot be asked.
    `wait`: seconds to wait for outcomes after the last letters were published; None: no limit.
    """

    rate: float | None = None
    canary: int | None = None
    stop_at: float | None = None
    again: bool = False
    wait: float | None = None

    def check(self) -> None:
        """Raise `InvalidInput` if a value is out of range."""
        if self.rate is not None and self.rate <= 0:
            raise InvalidInput("rate: must be more than 0 a second")
        if self.canary is not None and self.canary < 1:
            raise InvalidInput("canary: must be at least 1")
        if self.stop_at is not None and not 0 <= self.stop_at <= 100:  # noqa: PLR2004 - a percentage
            raise InvalidInput("stop-at: must be a percentage, 0 to 100")
        if self.wait is not None and not self.wait >= 0:
            raise InvalidInput("wait: must be 0 seconds or more")


def check_reason(pace: Pace, letters: int, reason: str | None) -> None:
    """Raise `InvalidInput` if a replay needs a reason and has none.

    `letters`: letters still to be replayed. More than one needs a reason, and so does `pace.again`.
    """
    if reason:
        return
    if pace.again:
        raise InvalidInput("reason: required to repeat calls that may have been made; use --reason")
    if letters > 1:
        raise InvalidInput("reason: required to replay more than one letter; use --reason")


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
_USE = "UPDATE engine.replay_plans SET last_used_at = now() WHERE id = %s AND expired_at IS NULL"
_FINISH = """
UPDATE engine.replay_plans
   SET last_used_at = now(), finished_at = CASE WHEN NOT EXISTS (
           SELECT FROM engine.replay_plan_letters p
            WHERE p.plan_id = %s AND p.class = ANY(%s) AND p.outcome IS NULL) THEN coalesce(finished_at, now()) END
 WHERE id = %s
"""


def check_fresh(connection: Connection, plan: Plan) -> None:
    """Raise `Conflict` if letters still to be replayed have changed since the plan was made."""
    changed = connection.execute(_CHANGED, [plan.id, list(REPLAYED)]).fetchall()
    connection.commit()
    if changed:
        named = ", ".join(f"{letter_id} {what}" for letter_id, what in changed[:10])
        more = f" and {len(changed) - 10} more" if len(changed) > 10 else ""  # noqa: PLR2004 - as many as are named
        raise Conflict(f"plan {plan.id} is stale: {named}{more}; make a new one with `dead plan`")


def run(  # noqa: PLR0913 - the plan, its options, the audit log's fields and two callbacks
    connection: Connection,
    plan: Plan,
    pace: Pace,
    *,
    actor: str,
    reason: str | None,
    show: Callable[[Progress], None],
    tell: Callable[[str], None] = log.warning,
) -> Progress:
    """Replay the remaining letters of a plan and wait for their outcomes. Returns the final progress.

    The connection must be outside a transaction. `show` is called with the progress after every step. `tell` is called
    with each obstacle that keeps the replay from progress. After an interruption or a timeout, another call resumes the
    plan. Raises `Conflict` if the plan is stale or expired, `InvalidInput` for a bad pace or a missing reason.
    """
    pace.check()
    check_fresh(connection, plan)
    with connection.transaction():
        begun = count(connection, plan.id, REPLAYED)
        check_reason(pace, begun.total - begun.replayed, reason)
        if not connection.execute(_USE, [plan.id]).rowcount:
            raise Conflict(f"plan {plan.id} has expired, it was not used for long; make a new one with `dead plan`")
        asked = {name: getattr(pace, name) for name in ("rate", "canary", "stop_at", "again", "wait")}
        audit_log.record(connection, actor, "replay", subject=plan.id, reason=reason, details=asked)
    replay = _Replay(connection, plan, pace, show, Patience(connection, plan.id, pace.wait, tell))
    return _finish(connection, plan, actor, replay.run())


def _finish(connection: Connection, plan: Plan, actor: str, progress: Progress) -> Progress:
    with connection.transaction():
        connection.execute(_FINISH, [plan.id, list(REPLAYED), plan.id])
        details = {
            "replayed": progress.replayed,
            **progress.outcomes,
            "stopped": progress.stopped,
            "timed_out": progress.timed_out,
        }
        audit_log.record(connection, actor, "replayed", subject=plan.id, details=details)
    return progress


@dataclass(slots=True)
class _Replay:
    """A running replay."""

    connection: Connection
    plan: Plan
    pace: Pace
    show: Callable[[Progress], None]
    patience: Patience

    def run(self) -> Progress:
        """Replay the canary, then the rest at the configured rate, then wait for outcomes."""
        progress = self._canary()
        began, before = time.monotonic(), progress.replayed
        while not self._is_over(progress) and (room := _room(self.pace, began, before, progress)) is not None:
            if not self._step(room) and not self._pause(room, progress):
                progress.timed_out = True
                return progress
            progress = self._read_progress()
            _stop_if_too_many(self.pace, progress)
        stopped = progress.stopped
        if not progress.timed_out:
            progress = self._wait()
            _stop_if_too_many(self.pace, progress)
        progress.stopped = stopped
        return progress

    def _canary(self) -> Progress:
        """Replay the canary letters and wait for them. Sets `stopped` if one of them is dead-lettered again."""
        with self.connection.transaction():
            begun = count(self.connection, self.plan.id, REPLAYED)
        most = self.pace.canary
        # A replay that timed out has not evaluated its canary yet.
        if most is None or begun.replayed > most or (begun.replayed and not begun.waiting):
            return self._read_progress()
        if not begun.replayed:
            self._step(most)
        seen = self._wait()
        if seen.outcomes["dead"]:
            seen.stopped = f"{seen.outcomes['dead']} of the first {seen.replayed} died again"
        return seen

    def _is_over(self, progress: Progress) -> bool:
        return progress.timed_out or progress.stopped is not None

    def _step(self, room: int) -> int:
        taken = _step(self.connection, self.plan, room, again=self.pace.again) if room else 0
        if taken:
            self.patience.put()
        return taken

    def _pause(self, room: int, progress: Progress) -> bool:
        """Wait after a step that took no letter. Returns False if the time to wait is over.

        Causes: the rate limit, another replay that holds the remaining letters, or outcomes that must arrive first.
        """
        if not room and self.pace.rate is not None:
            time.sleep(LOOK_EVERY_S)
            return True
        return self.patience.rest(progress)

    def _wait(self) -> Progress:
        """Wait until every replayed letter has an outcome, or the time to wait is over."""
        while (progress := self._read_progress()).waiting > 0:
            if not self.patience.rest(progress):
                progress.timed_out = True
                break
        return progress

    def _read_progress(self) -> Progress:
        progress = read_progress(self.connection, self.plan.id, REPLAYED)
        self.show(progress)
        return progress


def _room(pace: Pace, began: float, before: int, progress: Progress) -> int | None:
    """Return how many letters may be replayed now; None if all have been replayed."""
    if progress.replayed >= progress.total:
        return None
    if pace.rate is None:
        # Limit the letters without an outcome, so that the replay stops soon after failures exceed the limit.
        return _AT_ONCE if pace.stop_at is None else max(0, _ENOUGH_TO_JUDGE - progress.waiting)
    due = int((time.monotonic() - began) * pace.rate) + 1
    return max(0, min(_AT_ONCE, due - (progress.replayed - before)))


def _stop_if_too_many(pace: Pace, progress: Progress) -> None:
    known = progress.outcomes.total()
    if pace.stop_at is None or known < min(_ENOUGH_TO_JUDGE, progress.replayed):
        return
    if progress.outcomes["dead"] * 100 > pace.stop_at * known:
        progress.stopped = f"{progress.outcomes['dead']} of {known} died again, more than {pace.stop_at:g} %"


def _step(connection: Connection, plan: Plan, most: int, *, again: bool) -> int:
    """Replay up to `most` letters in one transaction. Returns how many were taken from the plan."""
    with connection.transaction():
        cursor = connection.cursor(row_factory=class_row(PlanLetter))
        taken = cursor.execute(_TAKE, [plan.id, list(REPLAYED), most]).fetchall()
        if taken:
            ends = redeliver(connection, taken, again=again)
            connection.execute(
                _REPLAYED, [[e.letter_id for e in ends], [e.awaited for e in ends], [e.outcome for e in ends], plan.id]
            )
    return len(taken)
