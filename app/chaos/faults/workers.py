"""Faults of workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from app.chaos.fault_context import BUSY, REGISTERED, Done, FaultContext, Freeze
from app.chaos.recovery import in_hand
from app.chaos.worker_pool import Worker
from app.engine.worker.liveness import APPLICATION

_CALLS = """
SELECT c.call_key FROM engine.calls c JOIN engine.workers w ON w.worker_id = c.worker_id WHERE w.pid = %s
"""
_SESSIONS = """
SELECT DISTINCT a.pid, w.pid AS worker FROM pg_stat_activity a
  JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
  JOIN engine.workers w ON w.session_key = l.objid::bigint
 WHERE a.application_name = %s ORDER BY a.pid
"""
"""The server's processes that hold workers' liveness sessions, and the workers' pids."""
_FREEZE_S = (2.5, 6.0)
"""Seconds: from the time after which a worker may count as dead, to long enough for others to do its work."""


def kill(fault_context: FaultContext) -> Done | None:
    """Send SIGKILL to a busy worker."""
    if (worker := fault_context.some_worker(BUSY)) is None:
        return None
    at, lost = time.monotonic(), 0
    fault_context.worker_pool.kill(worker)
    with suppress(psycopg.Error):
        lost = fault_context.interrupt("kill", at, worker.pid)
    return Done(f"worker {worker.pid}, {lost} deliveries in progress")


def kill_all(fault_context: FaultContext) -> Done:
    """Send SIGKILL to all workers at once, as if their machine failed and was replaced."""
    with fault_context.stage.overlook() as connection:
        leases = in_hand(connection)
    at, gone = time.monotonic(), fault_context.worker_pool.at_work()
    for worker in gone:
        fault_context.worker_pool.kill(worker)
    return Done(f"{len(gone)} workers, {fault_context.interrupt_all('kill_all', at, leases)}")


def freeze(fault_context: FaultContext) -> Done | None:
    """Stop a busy worker with SIGSTOP until it counts as dead, then continue it: it is a zombie."""
    lasts, worker = fault_context.dice.uniform(*_FREEZE_S), fault_context.some_worker(BUSY)
    return None if worker is None else _freeze(fault_context, "freeze", [worker], lasts)


def freeze_all(fault_context: FaultContext) -> Done | None:
    """Stop and continue all workers at once, as if their machine was suspended: each finds all others dead."""
    lasts, workers = fault_context.dice.uniform(*_FREEZE_S), fault_context.worker_pool.at_work()
    return _freeze(fault_context, "freeze_all", workers, lasts) if workers else None


def _freeze(fault_context: FaultContext, kind: str, workers: Sequence[Worker], lasts: float) -> Done:
    at, began = time.monotonic(), datetime.now(UTC)
    for worker in workers:
        fault_context.worker_pool.freeze(worker)
    try:
        lost = [fault_context.interrupt(kind, at, worker.pid) for worker in workers]
        calls = {worker.pid: _calls_of(fault_context, worker) for worker in workers}
    except psycopg.Error:
        for worker in workers:
            fault_context.worker_pool.thaw(worker)
        raise

    def thaw() -> None:
        for worker in workers:
            fault_context.freezes.append(Freeze(worker.pid, calls[worker.pid], began, datetime.now(UTC)))
            fault_context.worker_pool.thaw(worker)

    pids = ", ".join(str(worker.pid) for worker in workers)
    return Done(f"worker {pids} for {lasts:.1f} s, {sum(lost)} deliveries in progress", lasts, thaw)


def terminate(fault_context: FaultContext) -> Done | None:
    """Send SIGTERM to a worker: it returns unfinished rows to the queue."""
    if (worker := fault_context.some_worker(REGISTERED)) is None:
        return None
    fault_context.worker_pool.tell_to_stop(worker)
    return Done(f"worker {worker.pid}")


def end_session(fault_context: FaultContext) -> Done | None:
    """Terminate a worker's liveness session only: other workers rescue its deliveries."""
    with fault_context.stage.overlook() as connection:
        sessions = connection.execute(_SESSIONS, [APPLICATION]).fetchall()
        if not sessions:
            return None
        pid, worker = fault_context.pick(sessions)
        at, leases = time.monotonic(), in_hand(connection, worker)
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    fault_context.watch.interrupted("end_session", leases, at)
    return Done(f"of worker {worker}, {len(leases)} deliveries in progress")


def _calls_of(fault_context: FaultContext, worker: Worker) -> frozenset[UUID]:
    with fault_context.stage.overlook() as connection:
        return frozenset(event_id for (event_id,) in connection.execute(_CALLS, [worker.pid]))
