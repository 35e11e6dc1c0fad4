"""Run workers until nothing is left to do, and read values from the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app import database as doors
from app.context import Connection
from app.testing.deliver import deliver
from app.testing.drain import drain, drain_all, waiting
from tests.helpers.waits import LIMIT_S

__all__ = ["deliver", "drain", "drain_all", "scalar", "waiting", "working"]


def scalar(connection: Connection, statement: str, *parameters: object) -> Any:
    """Return the single value of a query."""
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def working(url: str) -> Iterator[None]:
    """Run a worker in a thread during the block. It delivers everything, again and again."""
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
        thread.join(LIMIT_S)
        assert not thread.is_alive(), "the worker does not stop"
