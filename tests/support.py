"""What tests do to the whole program: let workers run until nothing is left to do, and look into the queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from procrastinate import psycopg_connector

from app import database as doors
from app.context import Connection
from app.engine.queue import _pool, app, load_arguments


def drain(*, queues: list[str] | None = None, concurrency: int = 4) -> None:
    """Run a real worker on the database of the environment until it finds nothing to deliver."""

    async def run() -> None:
        # A worker of an earlier test had another event loop; its pool cannot be used again.
        connector = psycopg_connector.PsycopgConnector(
            json_loads=load_arguments, pool_factory=_pool, min_size=1, max_size=4
        )
        with app.replace_connector(connector):
            async with app.open_async():
                options: dict[str, Any] = {"concurrency": concurrency, **({"queues": queues} if queues else {})}
                while await _due(connector, queues):
                    await app.run_worker_async(
                        wait=False, install_signal_handlers=False, listen_notify=False, **options
                    )

    asyncio.run(run())


async def _due(connector: psycopg_connector.PsycopgConnector, queues: list[str] | None) -> bool:
    row = await connector.execute_query_one_async(_DUE, queues=queues)
    return bool(row["due"])


_DUE = """
SELECT EXISTS (
    SELECT FROM public.procrastinate_jobs
     WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
       AND (%(queues)s::text[] IS NULL OR queue_name = ANY(%(queues)s))
) AS due
"""


def drain_all(connection: Connection, *, rounds: int = 20) -> None:
    """Drain, let everything that was put back be due at once, and go on until nothing waits."""
    for _ in range(rounds):
        drain()
        due = connection.execute(
            "UPDATE public.procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND scheduled_at > now()"
        )
        if due.rowcount == 0 and not waiting(connection):
            return
    message = f"still waiting after {rounds} rounds: {waiting(connection)} rows"
    raise AssertionError(message)


def waiting(connection: Connection) -> int:
    """How many queue rows are waiting or in hand."""
    row = connection.execute(
        "SELECT count(*) FROM public.procrastinate_jobs WHERE status IN ('todo', 'doing')"
    ).fetchone()
    assert row is not None
    return int(row[0])


def scalar(connection: Connection, statement: str, *parameters: object) -> Any:
    """The one value that a query returns."""
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def working(url: str) -> Iterator[None]:
    """A worker that keeps draining in a thread of its own, for whoever waits for what comes of it."""
    done = threading.Event()

    def work() -> None:
        with doors.connect(url, autocommit=True) as connection:
            while not done.is_set():
                drain_all(connection)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
