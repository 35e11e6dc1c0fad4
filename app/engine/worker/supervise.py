"""Supervise workers: restart them when the database is reachable again.

Stock Procrastinate exits with status 0, or continues without receiving notifications, if its connections break. Here a
worker that ends without a stop request is restarted, after a pause that grows with each failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
from procrastinate.app import WorkerOptions

from app import database
from app.engine.domain import wiring
from app.engine.routing import EVENTS_QUEUE
from app.engine.worker import metrics_port
from app.engine.worker.app import Application
from app.engine.worker.stopping import Stop, listening
from app.errors import InvalidInput, SetupError

log = structlog.get_logger(__name__)

_MOST_FAILURES = 10
_HEALTHY_AFTER_S = 60.0
_LONGEST_PAUSE_S = 30.0


def plan(queues: Sequence[str] | None, concurrency: int | None) -> list[WorkerOptions]:
    """Plan the workers of one process: one for the named queues, or one for events and one for effects.

    Events and effects have separate workers, so that slow calls never delay event handlers. Raises `InvalidInput` for
    an unknown queue.
    """
    known = wiring().queues()
    if unknown := [name for name in queues or [] if name not in known]:
        message = f"queues: unknown {', '.join(unknown)}; there are {', '.join(known)}"
        raise InvalidInput(message)
    if queues:
        return [{"queues": list(queues), "name": "-".join(queues), "concurrency": concurrency or 4}]
    effects = [name for name in known if name != EVENTS_QUEUE]
    return [
        {"queues": [EVENTS_QUEUE], "name": "events", "concurrency": 2},
        {"queues": effects, "name": "effects", "concurrency": concurrency or 4},
    ]


async def supervise(app: Application, workers: Sequence[WorkerOptions]) -> int:
    """Run workers until SIGTERM or SIGINT. Returns the exit status: 0 after a stop request, 1 after too many failures.

    A stop that exceeds its time limit ends the process with `stopping.CUT_SHORT`. Raises `SetupError` at once if the
    server or schema is unsuitable, or the port for metrics is taken.
    """
    with metrics_port.serving(), listening(app.told_to_stop) as stop:
        return await _keep_running(app, workers, stop)


async def _keep_running(app: Application, workers: Sequence[WorkerOptions], stop: Stop) -> int:
    failures = 0
    while not stop.is_told():
        began = time.monotonic()
        await _run(app, workers, stop)
        if stop.is_told():
            break
        failures = 1 if time.monotonic() - began > _HEALTHY_AFTER_S else failures + 1
        if failures > _MOST_FAILURES:
            log.error("giving up", failures=failures)
            return 1
        pause = min(_LONGEST_PAUSE_S, 0.5 * 2.0**failures)
        log.warning("starting over", failures=failures, pause=pause)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.event.wait(), pause)
    return 0


async def _run(app: Application, workers: Sequence[WorkerOptions], stop: Stop) -> None:
    """Run workers once, until they end by themselves or by a stop request."""
    try:
        await stop.run(_session(app, workers))
    except SetupError:
        raise
    except Exception as error:  # noqa: BLE001 - workers restart after any error
        # One line: the stack trace of a lost connection is of no use.
        cause = error.__cause__ or error  # Procrastinate's message is only "Database error."
        log.error("workers failed", error=type(cause).__name__, why=" ".join(str(cause).split()))  # noqa: TRY400


async def _session(app: Application, workers: Sequence[WorkerOptions]) -> None:
    # In a thread: starting an embedded server takes time, and SIGTERM must be handled meanwhile.
    await asyncio.to_thread(database.url)
    async with app.open_async():
        await app.run_workers([{**options, "install_signal_handlers": False} for options in workers])
