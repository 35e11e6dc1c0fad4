"""Waits for conditions. Each checks the condition itself, and fails after a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.context import Connection
from app.engine.progress import listen

LIMIT_S = 20.0
"""How long something may take on a busy machine before it counts as never."""
_LOOK_ANYWAY_S = 0.1

SOMEBODY_WAITS = """
SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
 WHERE NOT granted AND datname = current_database() AND usename IS NOT NULL
"""
"""A row for each client of this database that waits for a lock. Autovacuum, which has no name, does not count."""


def until_somebody_waits(connection: Connection, least: int = 1) -> None:
    """Wait until at least `least` statements of this database wait for a lock."""
    end = time.monotonic() + LIMIT_S
    while len(connection.execute(SOMEBODY_WAITS).fetchall()) < least:
        assert time.monotonic() < end, f"not {least} wait for a lock"


def until(listener: Connection, condition: Callable[[], object], *, limit: float = LIMIT_S) -> None:
    """Wait until the condition is true. Checks it at each change of a job, and ten times a second.

    `listener`: an autocommit connection that is used for nothing else.
    """
    end = time.monotonic() + limit
    changes = listen(listener, timeout=_LOOK_ANYWAY_S)
    while not condition():
        assert time.monotonic() < end, f"not within {limit:.0f} s"
        next(changes)
