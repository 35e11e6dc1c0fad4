"""Stopping: a worker that is asked to stop exits within `TALLYMAN_GRACEFUL_TIMEOUT`, even if the server hangs.

The first SIGTERM or SIGINT starts timers in their own threads, because the event loop and all other threads may be
waiting for a server that does not answer. Steps, with the time limit T and r = T/4, at most one second:

    0        fetch nothing new; running deliveries may finish
    T - 2r   cancel running effects; they requeue what is not recorded
    T - r    shut down the handlers' connections: their work is rolled back, their rows are requeued
    T        end the process with exit status `CUT_SHORT`

Other workers rescue the remaining deliveries within a second, because the process's session has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from app import database
from app.settings import settings

log = structlog.get_logger(__name__)

CUT_SHORT = 75
"""Exit status of a worker that did not stop before its time limit."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_RESERVE_S = 1.0


def reserve() -> float:
    """Return the seconds of each of the last two steps of a stop."""
    return min(_LONGEST_RESERVE_S, settings().graceful_timeout / 4)


def patience() -> float:
    """Return the seconds for which a stopping worker waits for its deliveries before it cancels them."""
    return settings().graceful_timeout - 2 * reserve()


class Stop:
    """The stop request of this process. Created by `listening()`."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self.event = asyncio.Event()
        self._on_stop = on_stop

    def is_told(self) -> bool:
        """Whether a stop was requested."""
        return self.event.is_set()

    def tell(self) -> None:
        """Request the stop. The first call starts the timers, which are never stopped: later steps may hang too."""
        if self.is_told():
            return
        self.event.set()
        self._on_stop()
        limit = settings().graceful_timeout
        _after(limit - reserve(), database.hang_up_pools)
        _after(limit, _end)

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, or cancel it at a stop request. Raises its error, unless a stop was requested."""
        running = asyncio.create_task(work)
        told = asyncio.create_task(self.event.wait())
        try:
            await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            running.cancel()
            await to_the_end({running})
        if not self.is_told():
            running.result()
        elif not running.cancelled() and (error := running.exception()) is not None:
            log.warning("stopped with an error", error=type(error).__name__, why=" ".join(str(error).split()))


@contextmanager
def listening(on_stop: Callable[[], None]) -> Iterator[Stop]:
    """Handle SIGTERM and SIGINT during the block: the first one calls `on_stop`. No effect outside the main thread."""
    stop = Stop(on_stop)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.tell)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            # A stopping process still closes its connections: a second signal must not interrupt that.
            signal.signal(number, signal.SIG_IGN if stop.is_told() else before[number])


async def to_the_end(running: set[asyncio.Task[None]]) -> None:
    """Wait until all tasks have ended, even if the wait is cancelled. The last cancellation is re-raised afterwards."""
    cancelled = None
    while pending := {task for task in running if not task.done()}:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    await asyncio.gather(*running, return_exceptions=True)
    if cancelled is not None:
        raise cancelled


def _after(seconds: float, action: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def _end() -> None:
    log.error("stopped at the limit: others rescue what was in hand", seconds=settings().graceful_timeout)
    os._exit(CUT_SHORT)
