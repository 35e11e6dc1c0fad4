"""What is done to workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from app.chaos.crew import Worker
from app.chaos.recovery import in_hand
from app.chaos.scene import BUSY, REGISTERED, Done, Freeze, Scene
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


def kill(scene: Scene) -> Done | None:
    """SIGKILL of a worker: nothing of it can clean up."""
    if (worker := scene.somebody(BUSY)) is None:
        return None
    at, lost = time.monotonic(), 0
    scene.crew.kill(worker)
    with suppress(psycopg.Error):
        lost = scene.interrupt("kill", at, worker.pid)
    return Done(f"worker {worker.pid}, {lost} deliveries in hand")


def kill_all(scene: Scene) -> Done:
    """SIGKILL of every worker at once: their machine is gone, and another takes its place."""
    with scene.stage.overlook() as connection:
        leases = in_hand(connection)
    at, gone = time.monotonic(), scene.crew.at_work()
    for worker in gone:
        scene.crew.kill(worker)
    return Done(f"{len(gone)} workers, {scene.interrupt_all('kill_all', at, leases)}")


def freeze(scene: Scene) -> Done | None:
    """SIGSTOP of a worker for longer than it takes to be taken for dead, then SIGCONT: it comes back as a zombie."""
    lasts, worker = scene.dice.uniform(*_FREEZE_S), scene.somebody(BUSY)
    return None if worker is None else _freeze(scene, "freeze", [worker], lasts)


def freeze_all(scene: Scene) -> Done | None:
    """The same of every worker at once: their machine was suspended, and each wakes up to find all the others dead."""
    lasts, workers = scene.dice.uniform(*_FREEZE_S), scene.crew.at_work()
    return _freeze(scene, "freeze_all", workers, lasts) if workers else None


def _freeze(scene: Scene, kind: str, workers: Sequence[Worker], lasts: float) -> Done:
    at, began = time.monotonic(), datetime.now(UTC)
    for worker in workers:
        scene.crew.freeze(worker)
    try:
        lost = [scene.interrupt(kind, at, worker.pid) for worker in workers]
        calls = {worker.pid: _calls_of(scene, worker) for worker in workers}
    except psycopg.Error:
        for worker in workers:
            scene.crew.thaw(worker)
        raise

    def thaw() -> None:
        for worker in workers:
            scene.freezes.append(Freeze(worker.pid, calls[worker.pid], began, datetime.now(UTC)))
            scene.crew.thaw(worker)

    pids = ", ".join(str(worker.pid) for worker in workers)
    return Done(f"worker {pids} for {lasts:.1f} s, {sum(lost)} deliveries in hand", lasts, thaw)


def terminate(scene: Scene) -> Done | None:
    """SIGTERM of a worker: it hands back what it cannot finish in time."""
    if (worker := scene.somebody(REGISTERED)) is None:
        return None
    scene.crew.tell_to_stop(worker)
    return Done(f"worker {worker.pid}")


def end_session(scene: Scene) -> Done | None:
    """The server ends the liveness session of a worker, and no other connection: others take its deliveries over."""
    with scene.stage.overlook() as connection:
        sessions = connection.execute(_SESSIONS, [APPLICATION]).fetchall()
        if not sessions:
            return None
        pid, worker = scene.pick(sessions)
        at, leases = time.monotonic(), in_hand(connection, worker)
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    scene.watch.interrupted("end_session", leases, at)
    return Done(f"of worker {worker}, {len(leases)} deliveries in hand")


def _calls_of(scene: Scene, worker: Worker) -> frozenset[UUID]:
    with scene.stage.overlook() as connection:
        return frozenset(event_id for (event_id,) in connection.execute(_CALLS, [worker.pid]))
