"""Faults by unrelated sessions and operators: locks, snapshots, paused queues, a lost key, portal outages."""

from __future__ import annotations

from typing import LiteralString

from app.chaos.fault_context import Done, FaultContext
from app.chaos.stage import CALM, CARRIER, SLOW_MS
from app.context import Context
from app.engine.queue import pauses
from app.logistics import carriers

_ACTOR = "chaos"
_HOLD_S = (0.5, 4.0)
_LONG_S = 30.0
_LONGEST_PART = 0.25
"""Longest part of the run for which a long lock is held, at most `_LONG_S`."""

_LOCK_JOB = """
SELECT id FROM logistics.robot_jobs WHERE status = 'processing' ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_LOCK_ITEM = """
SELECT id FROM logistics.robot_job_items WHERE status IN ('pending', 'processing')
 ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_LOCK_ORDER = """
SELECT o.id FROM logistics.orders o
 WHERE EXISTS (SELECT FROM logistics.robot_job_items i
                WHERE i.order_id = o.id AND i.status IN ('pending', 'processing'))
 ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
"""
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
_SEALED = "SELECT portal_password FROM logistics.carrier_configs WHERE workspace_id = %s"
_SEAL = "UPDATE logistics.carrier_configs SET portal_password = %s WHERE workspace_id = %s"


def lock_job(fault_context: FaultContext) -> Done | None:
    """Lock the row of a running job in another session."""
    return _hold(fault_context, _LOCK_JOB, "job", fault_context.dice.uniform(*_HOLD_S))


def lock_job_for_long(fault_context: FaultContext) -> Done | None:
    """Lock the row of a running job for up to 30 s: its results wait, those of other jobs do not."""
    return _hold_long(fault_context, _LOCK_JOB, "job")


def lock_item_for_long(fault_context: FaultContext) -> Done | None:
    """Lock the row of an open item for up to 30 s."""
    return _hold_long(fault_context, _LOCK_ITEM, "item")


def lock_order_for_long(fault_context: FaultContext) -> Done | None:
    """Lock the row of an order with an open item for up to 30 s."""
    return _hold_long(fault_context, _LOCK_ORDER, "order")


def lock_rows(fault_context: FaultContext) -> Done | None:
    """Lock rows of the queue in another session: waiting, delayed and in delivery."""
    return _hold(fault_context, _LOCK_ROWS, "rows", fault_context.dice.uniform(*_HOLD_S))


def long_transaction(fault_context: FaultContext) -> Done | None:
    """Keep a snapshot open in another session, so that vacuum cannot remove dead rows."""
    return _hold(
        fault_context, _READ_ROWS, "rows in the snapshot:", fault_context.dice.uniform(*_HOLD_S), "REPEATABLE READ"
    )


def pause_queue(fault_context: FaultContext) -> Done:
    """Pause a queue, and resume it later."""
    queue = fault_context.dice.choice(("events", "robots"))
    with fault_context.stage.connect() as connection:
        pauses.pause(connection, queue, actor=_ACTOR, reason="chaos")
    lasts = fault_context.dice.uniform(0.5, 2.0)

    def resume() -> None:
        with fault_context.stage.connect() as connection:
            pauses.resume(connection, queue, actor=_ACTOR)

    return Done(f"{queue} for {lasts:.1f} s", lasts, resume)


def lose_key(fault_context: FaultContext) -> Done:
    """Seal a workspace's password with an unknown key: calls fail meanwhile and are dead-lettered."""
    workspace_id = fault_context.dice.choice(fault_context.stage.workspaces)
    with fault_context.stage.overlook() as connection:
        row = connection.execute(_SEALED, [workspace_id]).fetchone()
        sealed = str(row[0]) if row else ""
        version, body = sealed.rsplit(":", 2)[0], sealed.rpartition(":")[2]
        connection.execute(_SEAL, [f"{version}:lost:{body}", workspace_id])
    lasts = fault_context.dice.uniform(0.5, 1.5)

    def find() -> None:
        with fault_context.stage.overlook() as connection:
            connection.execute(_SEAL, [sealed, workspace_id])

    return Done(f"of {fault_context.stage.accounts[workspace_id]} for {lasts:.1f} s", lasts, find)


def disable_carrier(fault_context: FaultContext) -> Done:
    """Disable a workspace's carrier, and enable it later: no call begins meanwhile."""
    workspace_id = fault_context.dice.choice(fault_context.stage.workspaces)

    def switch(*, is_enabled: bool) -> None:
        with fault_context.stage.connect() as connection:
            context = Context.start(connection, workspace_id)
            (carriers.enable_carrier if is_enabled else carriers.disable_carrier)(context, CARRIER)

    switch(is_enabled=False)
    lasts = fault_context.dice.uniform(0.5, 1.5)
    return Done(
        f"of {fault_context.stage.accounts[workspace_id]} for {lasts:.1f} s", lasts, lambda: switch(is_enabled=True)
    )


def slow_portal(fault_context: FaultContext) -> Done:
    """Slow the portal down: it enters orders after its callers' timeout."""
    return _portal(fault_context, "latency_ms", SLOW_MS)


def close_portal(fault_context: FaultContext) -> Done:
    """Take the portal down for maintenance: it answers 503."""
    return _portal(fault_context, "is_down", worse=True)


def _portal(fault_context: FaultContext, setting: str, worse: object) -> Done:
    fault_context.stage.portal.change(**{setting: worse})
    lasts = fault_context.dice.uniform(0.5, 3.0)
    return Done(f"for {lasts:.1f} s", lasts, lambda: fault_context.stage.portal.change(**{setting: CALM[setting]}))


def _hold_long(fault_context: FaultContext, statement: LiteralString, what: str) -> Done | None:
    """Lock a row for a part of the run. Returns None if there is no such row."""
    lasts = fault_context.dice.uniform(0.5, 1.0) * min(_LONG_S, _LONGEST_PART * fault_context.seconds)
    return _hold(fault_context, statement, what, lasts)


def _hold(
    fault_context: FaultContext,
    statement: LiteralString,
    what: str,
    lasts: float,
    isolation: LiteralString = "READ COMMITTED",
) -> Done | None:
    """Hold a query's transaction open for `lasts` seconds. Returns None if the query returns no row."""
    connection = fault_context.stage.overlook()
    connection.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    held = [str(one) for (one,) in connection.execute(statement)]
    if not held:
        connection.close()
        return None
    # Closing the connection ends the transaction, and succeeds also after the server has ended it.
    return Done(f"{what} {', '.join(held)} for {lasts:.1f} s", lasts, connection.close)
