"""What is done to workers."""

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
"""From a little longer than it takes to be taken for dead, to long enough for others to have done its work."""


def kill(fault_context: FaultContext) -> Done | None:
    """SIGKILL of a worker: nothing of it can clean up."""
    if (worker := fault_context.somebody(BUSY)) is None:
        return None
    at, lost = time.monotonic(), 0
    fault_context.worker_pool.kill(worker)
    with suppress(psycopg.Error):
        lost = fault_context.interrupt("kill", at, worker.pid)
    return Done(f"worker {worker.pid}, {lost} deliveries in hand")


def kill_all(fault_context: FaultContext) -> Done:
    """SIGKILL of every worker at once: their machine is gone, and another takes its place."""
    with fault_context.stage.overlook() as connection:
        leases = in_hand(connection)
    at, gone = time.monotonic(), fault_context.worker_pool.at_work()
    for worker in gone:
        fault_context.worker_pool.kill(worker)
    return Done(f"{len(gone)} workers, {fault_context.interrupt_all('kill_all', at, leases)}")


def freeze(fault_context: FaultContext) -> Done | None:
    """SIGSTOP of a worker for longer than it takes to be taken for dead, then SIGCONT: it comes back as a zombie."""
    lasts, worker = fault_context.dice.uniform(*_FREEZE_S), fault_context.somebody(BUSY)
    return None if worker is None else _freeze(fault_context, "freeze", [worker], lasts)


def freeze_all(fault_context: FaultContext) -> Done | None:
    """The same of every worker at once: their machine was suspended, and each wakes up to find all the others dead."""
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
    return Done(f"worker {pids} for {lasts:.1f} s, {sum(lost)} deliveries in hand", lasts, thaw)


def terminate(fault_context: FaultContext) -> Done | None:
    """SIGTERM of a worker: it hands back what it cannot finish in time."""
    if (worker := fault_context.somebody(REGISTERED)) is None:
        return None
    fault_context.worker_pool.tell_to_stop(worker)
    return Done(f"worker {worker.pid}")


def end_session(fault_context: FaultContext) -> Done | None:
    """The server ends the liveness session of a worker, and no other connection: others take its deliveries over."""
    with fault_context.stage.overlook() as connection:
        sessions = connection.execute(_SESSIONS, [APPLICATION]).fetchall()
        if not sessions:
            return None
        pid, worker = fault_context.pick(sessions)
        at, leases = time.monotonic(), in_hand(connection, worker)
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    fault_context.watch.interrupted("end_session", leases, at)
    return Done(f"of worker {worker}, {len(leases)} deliveries in hand")


def _calls_of(fault_context: FaultContext, worker: Worker) -> frozenset[UUID]:
    with fault_context.stage.overlook() as connection:
        return frozenset(event_id for (event_id,) in connection.execute(_CALLS, [worker.pid]))
