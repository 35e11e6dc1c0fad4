"""What others do who mean no harm: hold locks, keep snapshots, pause a queue, lose a key, close a portal."""

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
"""What is held for long is held for up to this part of the run, at most for `_LONG_S`."""

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
    """Another session holds the row of a running job."""
    return _hold(fault_context, _LOCK_JOB, "job", fault_context.dice.uniform(*_HOLD_S))


def lock_job_for_long(fault_context: FaultContext) -> Done | None:
    """Another session holds the row of a running job for up to 30 s: its results wait, those of other jobs do not."""
    return _hold_long(fault_context, _LOCK_JOB, "job")


def lock_item_for_long(fault_context: FaultContext) -> Done | None:
    """Another session holds the row of an open item for up to 30 s."""
    return _hold_long(fault_context, _LOCK_ITEM, "item")


def lock_order_for_long(fault_context: FaultContext) -> Done | None:
    """Another session holds the row of an order that is to be shipped for up to 30 s."""
    return _hold_long(fault_context, _LOCK_ORDER, "order")


def lock_rows(fault_context: FaultContext) -> Done | None:
    """Another session holds rows of the queue: waiting ones, delayed ones and ones in hand."""
    return _hold(fault_context, _LOCK_ROWS, "rows", fault_context.dice.uniform(*_HOLD_S))


def long_transaction(fault_context: FaultContext) -> Done | None:
    """Another session keeps a snapshot open: nothing that is deleted meanwhile can be cleaned up."""
    return _hold(
        fault_context, _READ_ROWS, "rows in the snapshot:", fault_context.dice.uniform(*_HOLD_S), "REPEATABLE READ"
    )


def pause_queue(fault_context: FaultContext) -> Done:
    """An admin pauses a queue and resumes it."""
    queue = fault_context.dice.choice(("events", "robots"))
    with fault_context.stage.connect() as connection:
        pauses.pause(connection, queue, actor=_ACTOR, reason="chaos")
    lasts = fault_context.dice.uniform(0.5, 2.0)

    def resume() -> None:
        with fault_context.stage.connect() as connection:
            pauses.resume(connection, queue, actor=_ACTOR)

    return Done(f"{queue} for {lasts:.1f} s", lasts, resume)


def lose_key(fault_context: FaultContext) -> Done:
    """A workspace's password is sealed with a key that no worker has: what is called meanwhile dies."""
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
    """An admin disables a workspace's carrier and enables it again: no call begins meanwhile."""
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
    """The portal enters orders after its callers have hung up."""
    return _portal(fault_context, "latency_ms", SLOW_MS)


def close_portal(fault_context: FaultContext) -> Done:
    """The portal is down for maintenance."""
    return _portal(fault_context, "is_down", worse=True)


def _portal(fault_context: FaultContext, setting: str, worse: object) -> Done:
    fault_context.stage.portal.change(**{setting: worse})
    lasts = fault_context.dice.uniform(0.5, 3.0)
    return Done(f"for {lasts:.1f} s", lasts, lambda: fault_context.stage.portal.change(**{setting: CALM[setting]}))


def _hold_long(fault_context: FaultContext, statement: LiteralString, what: str) -> Done | None:
    """Hold a row for a part of the run; None where there is none to hold now."""
    lasts = fault_context.dice.uniform(0.5, 1.0) * min(_LONG_S, _LONGEST_PART * fault_context.seconds)
    return _hold(fault_context, statement, what, lasts)


def _hold(
    fault_context: FaultContext,
    statement: LiteralString,
    what: str,
    lasts: float,
    isolation: LiteralString = "READ COMMITTED",
) -> Done | None:
    """Hold what a query returns for `lasts` seconds; None where it returns nothing now."""
    connection = fault_context.stage.overlook()
    connection.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    held = [str(one) for (one,) in connection.execute(statement)]
    if not held:
        connection.close()
        return None
    # Hanging up ends the transaction, and does not mind if the server has ended it before.
    return Done(f"{what} {', '.join(held)} for {lasts:.1f} s", lasts, connection.close)
