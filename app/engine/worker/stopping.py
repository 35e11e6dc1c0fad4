"""Stopping: a worker that is told to stop is gone within `TALLYMAN_GRACEFUL_TIMEOUT`, whatever it waits for.

The first SIGTERM or SIGINT starts a clock in a thread of its own, because the event loop and every other thread may be
waiting for a server that says nothing. Of the time T, with r = T/4 and at most one second:

    0        takes nothing new; deliveries in hand may end
    T - 2r   effects under way are cancelled and hand back what is not recorded
    T - r    the connections of handlers are shut down: what they did is rolled back, their rows wait again
    T        the process ends, with exit code `CUT_SHORT`

What is not handed back then is rescued by other workers within a second, because the process's session has ended.
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
"""Exit status of a worker that was told to stop and had to be ended at its limit."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_RESERVE_S = 1.0


def reserve() -> float:
    """Seconds that each of the last two steps of a stop has."""
    return min(_LONGEST_RESERVE_S, settings().graceful_timeout / 4)


def patience() -> float:
    """Seconds for which a stopping worker waits for its deliveries before it cancels them."""
    return settings().graceful_timeout - 2 * reserve()


class Stop:
    """Whether this process was told to stop. Made by `listening()`."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self.event = asyncio.Event()
        self._on_stop = on_stop

    def is_told(self) -> bool:
        """Whether a signal came."""
        return self.event.is_set()

    def tell(self) -> None:
        """Stop. The clock runs from the first time on and is never stopped: what comes after may hang too."""
        if self.is_told():
            return
        self.event.set()
        self._on_stop()
        limit = settings().graceful_timeout
        _after(limit - reserve(), database.hang_up_pools)
        _after(limit, _end)

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something until it ends, or cancel it when told to stop. Raises what it raises, unless told to stop."""
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
    """Take SIGTERM and SIGINT for the block; `on_stop` is called at the first. Outside the main thread none comes."""
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
            # Told to stop, the process still has to close its connections: a second signal must not interrupt that.
            signal.signal(number, signal.SIG_IGN if stop.is_told() else before[number])


async def to_the_end(running: set[asyncio.Task[None]]) -> None:
    """Wait until all have ended, however often the waiting is cancelled; the cancellation is raised then."""
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
