"""The queue's side of a worker without an event loop: fetch rows, and record how their deliveries ended."""

from __future__ import annotations

from collections.abc import Collection, Coroutine
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeVar

from procrastinate import jobs
from procrastinate.connector import BaseAsyncConnector
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from app.context import Connection
from app.engine.queue.job_manager import FencedManager
from app.engine.worker.app import load_arguments
from app.testing.worker import Fetched

T = TypeVar("T")


class _Connector(BaseAsyncConnector):
    """Runs the manager's statements at once, over a connection in autocommit mode. Errors are psycopg's own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        (row,) = self._all(query, arguments)
        return row

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        return self._all(query, arguments)

    def _all(self, query: LiteralString, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        cursor = self._connection.cursor(row_factory=dict_row)
        set_json_loads(load_arguments, context=cursor)
        return cursor.execute(query, arguments).fetchall()


class QueueClient:
    """Fetches rows and records the ends of deliveries with the worker's job manager, over a connection of the test.

    An event loop and a pool of its own would cost several times the statements. `connection`: in autocommit mode.
    """

    def __init__(self, connection: Connection) -> None:
        self._manager = FencedManager(_Connector(connection))

    def fetch(self, queues: Collection[str] | None) -> int | None:
        """Fetch the next due row of `queues` (None: all) for a new worker. Returns its id, or None."""
        worker_id = _result(self._manager.register_worker())
        job = _result(self._manager.fetch_job(queues, worker_id))
        return None if job is None else job.id

    def end(self, fetched: Fetched, *, succeeded: bool) -> None:
        """Finish a delivery, or requeue it if it did not succeed."""
        job = jobs.Job(
            id=fetched.row_id,
            queue=fetched.queue_name,
            lock=None,
            queueing_lock=None,
            task_name=fetched.task_name,
            attempts=fetched.attempts,
            worker_id=fetched.worker_id,
        )
        if succeeded:
            _result(self._manager.finish_job(job, jobs.Status.SUCCEEDED, delete_job=True))
        else:
            _result(self._manager.retry_job(job, retry_at=datetime.now(UTC)))


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing, so that it needs no event loop. Returns its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("the coroutine waits")
