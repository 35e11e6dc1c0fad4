"""What is done to PostgreSQL and to connections with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from app.chaos.recovery import in_hand
from app.chaos.scene import Done, Scene
from app.postgres import embedded, postmaster

_STOP_LIMIT_S = 30.0
_AWAY_S = (0.0, 0.0, 1.0, 3.0)
"""How long the server stays down, beside the time that it takes to stop and start."""

_BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'tallyman' ORDER BY pid
"""
_LISTENERS = """
SELECT pid FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND usename = 'tallyman' AND query ILIKE 'LISTEN%' ORDER BY pid
"""


def restart_fast(scene: Scene) -> Done:
    """A fast restart of PostgreSQL: every connection is ended, every transaction rolled back."""
    return _restart(scene, "restart_fast", lambda: embedded.stop(scene.stage.home))


def restart_immediate(scene: Scene) -> Done:
    """An immediate restart of PostgreSQL: as after a power cut, the server recovers from its log."""
    return _restart(scene, "restart_immediate", lambda: _stop_immediately(scene))


def power_cut(scene: Scene) -> Done:
    """Every worker and the server are gone in the same moment."""

    def stop() -> None:
        _stop_immediately(scene)
        for worker in scene.crew.at_work():
            scene.crew.kill(worker)

    return _restart(scene, "power_cut", stop)


def crash_backend(scene: Scene) -> Done | None:
    """SIGKILL of one of the server's own processes: the server ends all of them and recovers by itself."""
    with scene.stage.overlook() as connection:
        backends = [pid for (pid,) in connection.execute(_BACKENDS)]
        leases = in_hand(connection)
    if not backends:
        return None
    pid, at = scene.dice.choice(backends), time.monotonic()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _wait(lambda: not _answers(scene), 1.0)
    return Done(f"backend {pid}, {scene.interrupt_all('crash_backend', at, leases)}")


def cut(scene: Scene) -> Done:
    """The connections of a few backends are ended, whosever they are."""
    with scene.stage.overlook() as connection:
        backends = [pid for (pid,) in connection.execute(_BACKENDS)]
        some = scene.dice.sample(backends, min(len(backends), scene.dice.randint(1, 4)))
        for pid in some:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    return Done(f"{len(some)} of {len(backends)} backends")


def deafen(scene: Scene) -> Done:
    """The connections that listen for new rows are ended."""
    with scene.stage.overlook() as connection:
        listeners = [pid for (pid,) in connection.execute(_LISTENERS)]
        for pid in listeners:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    return Done(f"{len(listeners)} listeners")


def _restart(scene: Scene, kind: str, stop: Callable[[], object]) -> Done:
    with scene.stage.overlook() as connection:
        leases = in_hand(connection)
    at = time.monotonic()
    stop()
    time.sleep(scene.dice.choice(_AWAY_S))
    embedded.ensure_running(scene.stage.home)
    return Done(scene.interrupt_all(kind, at, leases))


def _stop_immediately(scene: Scene) -> None:
    data = embedded.status(scene.stage.home).data_directory
    if (server := postmaster.running(data)) is not None:
        os.kill(server.pid, signal.SIGQUIT)
    if not _wait(lambda: postmaster.running(data) is None, _STOP_LIMIT_S):
        raise TimeoutError("the server does not stop")


def _answers(scene: Scene) -> bool:
    try:
        scene.stage.overlook().close()
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
