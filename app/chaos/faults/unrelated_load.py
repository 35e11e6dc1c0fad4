"""Faults by unrelated sessions and operators: locked queue rows, a long snapshot, paused queues."""

from __future__ import annotations

from app.chaos.fault_context import Done, FaultContext
from app.chaos.faults.holding import HOLD_S, hold
from app.engine.domain import wiring
from app.engine.queue import pauses

_ACTOR = "chaos"
_LOCK_ROWS = """
WITH queued AS (
    SELECT id FROM public.procrastinate_jobs
     WHERE status IN ('todo', 'doing') ORDER BY random() LIMIT 5 FOR UPDATE SKIP LOCKED
), late AS (
    SELECT id FROM engine.delayed ORDER BY random() LIMIT 5 FOR UPDATE SKIP LOCKED
)
SELECT id::text FROM queued UNION ALL SELECT 'delayed/' || id FROM late
"""
_READ_ROWS = "SELECT count(*) FROM public.procrastinate_jobs"


def lock_rows(fault_context: FaultContext) -> Done | None:
    """Lock rows of the queue in another session: waiting, delayed and in delivery."""
    return hold(fault_context, _LOCK_ROWS, "rows", fault_context.dice.uniform(*HOLD_S))


def long_transaction(fault_context: FaultContext) -> Done | None:
    """Keep a snapshot open in another session, so that vacuum cannot remove dead rows."""
    return hold(
        fault_context, _READ_ROWS, "rows in the snapshot:", fault_context.dice.uniform(*HOLD_S), "REPEATABLE READ"
    )


def pause_queue(fault_context: FaultContext) -> Done:
    """Pause a queue, and resume it later."""
    queue = fault_context.pick(wiring().queues())
    with fault_context.stage.connect() as connection:
        pauses.pause(connection, queue, actor=_ACTOR, reason="chaos")
    lasts = fault_context.dice.uniform(0.5, 2.0)

    def resume() -> None:
        with fault_context.stage.connect() as connection:
            pauses.resume(connection, queue, actor=_ACTOR)

    return Done(f"{queue} for {lasts:.1f} s", lasts, resume)
