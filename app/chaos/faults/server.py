"""Faults of PostgreSQL and its connections."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from app.chaos.fault_context import Done, FaultContext
from app.chaos.recovery import in_hand
from app.postgres import embedded, postmaster

_STOP_LIMIT_S = 30.0
_AWAY_S = (0.0, 0.0, 1.0, 3.0)
"""Seconds that the server stays down, in addition to its stop and start."""

_BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'tallyman' ORDER BY pid
"""
_LISTENERS = """
SELECT pid FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND usename = 'tallyman' AND query ILIKE 'LISTEN%' ORDER BY pid
"""


def restart_fast(fault_context: FaultContext) -> Done:
    """Restart PostgreSQL in fast mode: all connections end, all transactions are rolled back."""
    return _restart(fault_context, "restart_fast", lambda: embedded.stop(fault_context.stage.home))


def restart_immediate(fault_context: FaultContext) -> Done:
    """Restart PostgreSQL in immediate mode: the server recovers from its log, as after a power cut."""
    return _restart(fault_context, "restart_immediate", lambda: _stop_immediately(fault_context))


def power_cut(fault_context: FaultContext) -> Done:
    """Kill all workers and stop the server immediately, at the same time."""

    def stop() -> None:
        _stop_immediately(fault_context)
        for worker in fault_context.worker_pool.at_work():
            fault_context.worker_pool.kill(worker)

    return _restart(fault_context, "power_cut", stop)


def crash_backend(fault_context: FaultContext) -> Done | None:
    """Send SIGKILL to a server process: the server ends all connections and recovers."""
    with fault_context.stage.overlook() as connection:
        backends = [pid for (pid,) in connection.execute(_BACKENDS)]
        leases = in_hand(connection)
    if not backends:
        return None
    pid, at = fault_context.dice.choice(backends), time.monotonic()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _wait(lambda: not _answers(fault_context), 1.0)
    return Done(f"backend {pid}, {fault_context.interrupt_all('crash_backend', at, leases)}")


def cut(fault_context: FaultContext) -> Done:
    """Terminate 1 to 4 random connections."""
    with fault_context.stage.overlook() as connection:
        backends = [pid for (pid,) in connection.execute(_BACKENDS)]
        some = fault_context.dice.sample(backends, min(len(backends), fault_context.dice.randint(1, 4)))
        for pid in some:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    return Done(f"{len(some)} of {len(backends)} backends")


def deafen(fault_context: FaultContext) -> Done:
    """Terminate the connections that LISTEN for new rows."""
    with fault_context.stage.overlook() as connection:
        listeners = [pid for (pid,) in connection.execute(_LISTENERS)]
        for pid in listeners:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    return Done(f"{len(listeners)} listeners")


def _restart(fault_context: FaultContext, kind: str, stop: Callable[[], object]) -> Done:
    with fault_context.stage.overlook() as connection:
        leases = in_hand(connection)
    at = time.monotonic()
    stop()
    time.sleep(fault_context.dice.choice(_AWAY_S))
    embedded.ensure_running(fault_context.stage.home)
    return Done(fault_context.interrupt_all(kind, at, leases))


def _stop_immediately(fault_context: FaultContext) -> None:
    data = embedded.status(fault_context.stage.home).data_directory
    if (server := postmaster.running(data)) is not None:
        os.kill(server.pid, signal.SIGQUIT)
    if not _wait(lambda: postmaster.running(data) is None, _STOP_LIMIT_S):
        raise TimeoutError("the server did not stop in time")


def _answers(fault_context: FaultContext) -> bool:
    try:
        fault_context.stage.overlook().close()
    except psycopg.Error:
        return False
    return True


def _wait(condition: Callable[[], bool], limit: float) -> bool:
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
