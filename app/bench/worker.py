"""Run the program's worker in this process until no row is due, and time it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from procrastinate.app import WorkerOptions

from app.bench.job_fixtures import JobFixtures, NotExact
from app.context import HandlerContext
from app.engine.domain import Handler, use, wiring
from app.engine.routing import EVENTS_QUEUE
from app.engine.worker.app import app, fresh_connector
from events import Event

CONCURRENCY = 2
"""Concurrent deliveries of events, as in `cli.py work`."""


PATIENCE_S = 600.0

_DUE = """
SELECT EXISTS (SELECT FROM engine.waiting(%(queues)s::text[])
                WHERE status = 'todo' AND queue_name = ANY(%(queues)s) AND (due_at IS NULL OR due_at <= now())) AS due
"""


def count(fixtures: JobFixtures) -> float:
    """Run a worker until all waiting results of the fixtures and their follow-up events are handled. Returns seconds.

    Timed from open connections on. The worker listens, as `cli.py work` does. Raises `NotExact` after ten minutes.
    """
    with clear_desk():
        return asyncio.run(_count(fixtures))


def drain(queues: Sequence[str] = (EVENTS_QUEUE,), concurrency: int = CONCURRENCY) -> float:
    """Run a worker until no row is due. Returns seconds from open connections until it stops."""
    with clear_desk():
        return asyncio.run(_drain(list(queues), concurrency))


@contextmanager
def clear_desk() -> Iterator[None]:
    """Exclude the benchmark's own objects, up to a million, from garbage collection during the block."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def serve_until(
    serving: Coroutine[Any, Any, None], reached: asyncio.Event, *, limit: float | None = None
) -> float:
    """Run a worker until it ends, `reached` is set or `limit` seconds have passed. Returns the seconds.

    Then stop the worker, which finishes its current deliveries.
    """
    began = time.perf_counter()
    tasks = {asyncio.create_task(serving), asyncio.create_task(reached.wait())}
    await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    seconds = time.perf_counter() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seconds


async def _drain(queues: list[str], concurrency: int) -> float:
    connector = fresh_connector()
    options: WorkerOptions = {
        "queues": queues,
        "concurrency": concurrency,
        "wait": False,
        "install_signal_handlers": False,
        "listen_notify": False,
    }
    with app.replace_connector(connector):
        async with app.open_async(), app.at_work(concurrency):
            began = time.perf_counter()
            # With `wait=False`, a worker may leave events that its last deliveries published.
            while (await connector.execute_query_one_async(_DUE, queues=queues))["due"]:
                await app.serve(**options)
            return time.perf_counter() - began


@dataclass(slots=True)
class _Finish:
    """Counts the handled follow-up events of results, until all `expected` ones are handled."""

    expected: int
    loop: asyncio.AbstractEventLoop
    reached: asyncio.Event
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def after(self, handler: Handler) -> Handler:
        """Return the handler with its events counted."""

        def handle(context: HandlerContext, events: list[Event[Any]]) -> Iterable[Event[Any]]:
            following = handler(context, events)
            with self.lock:
                self.seen += len(events)
                if self.seen >= self.expected:
                    self.loop.call_soon_threadsafe(self.reached.set)
            return following

        return handle


async def _count(fixtures: JobFixtures) -> float:
    expected = sum(fixtures.following.values())
    finish = _Finish(expected, asyncio.get_running_loop(), asyncio.Event())
    own = wiring()
    watched = {kind: finish.after(own.handlers[kind]) for kind in fixtures.following}
    with app.replace_connector(fresh_connector()), use(replace(own, handlers={**own.handlers, **watched})):
        async with app.open_async(), app.at_work(CONCURRENCY):
            serving = app.serve(queues=[EVENTS_QUEUE], concurrency=CONCURRENCY, install_signal_handlers=False)
            seconds = await serve_until(serving, finish.reached, limit=PATIENCE_S)
    if not finish.reached.is_set():
        raise NotExact(f"{finish.seen} events have followed after {seconds:.0f} s, not {expected}")
    return seconds
