"""The program's own worker, run in this process until nothing is due, and timed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from procrastinate.app import WorkerOptions

from app.engine.queue import app, fresh_connector
from app.engine.registry import EVENTS_QUEUE

CONCURRENCY = 2
"""Deliveries of events at once: what `cli.py work` starts."""


_DUE = """
SELECT EXISTS (SELECT FROM public.procrastinate_jobs
                WHERE status = 'todo' AND queue_name = ANY(%(queues)s)
                  AND (scheduled_at IS NULL OR scheduled_at <= now())) AS due
"""


def drain(queues: Sequence[str] = (EVENTS_QUEUE,), concurrency: int = CONCURRENCY) -> float:
    """Let a worker deliver everything that is due; the seconds it took.

    They begin when its connections are open and end when nothing is due any more, with what follows.
    """
    with clear_desk():
        return asyncio.run(_drain(list(queues), concurrency))


@contextmanager
def clear_desk() -> Iterator[None]:
    """Keep what the benchmark itself holds, a million objects maybe, out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


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
            # Told not to wait, a worker leaves what its last deliveries publish.
            while (await connector.execute_query_one_async(_DUE, queues=queues))["due"]:
                await app.serve(**options)
            return time.perf_counter() - began
