"""Watch: wait for a condition in the database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, LiteralString

from app.bench.job_fixtures import NotExact
from app.context import Connection

PROGRESS: LiteralString = "LISTEN tallyman_progress"
"""Every commit that changes a robot job notifies this channel."""
_LOOK_AGAIN_S = 0.1
_QUIET: LiteralString = """
SELECT NOT EXISTS (SELECT FROM engine.waiting(%(queues)s::text[])
                    WHERE status IN ('todo', 'doing') AND queue_name = ANY(%(queues)s))
"""


def until(
    connection: Connection, condition: LiteralString, parameters: Mapping[str, Any], *, within: float, what: str
) -> None:
    """Wait until a query returns true. It runs after each notification, and every 0.1 s.

    Raises `NotExact` with `what` after `within` seconds.
    """
    connection.execute(PROGRESS)
    deadline = time.monotonic() + within
    while not _holds(connection, condition, parameters):
        if time.monotonic() > deadline:
            raise NotExact(f"{what}: not within {within:g} s")
        # A notification only triggers the next check; its content is ignored.
        list(connection.notifies(timeout=_LOOK_AGAIN_S, stop_after=1))


def until_quiet(connection: Connection, *queues: str, within: float) -> None:
    """Wait until these queues have no waiting row and no delivery. Raises `NotExact` after `within` seconds."""
    until(connection, _QUIET, {"queues": list(queues)}, within=within, what=f"queues {', '.join(queues)} empty")


def _holds(connection: Connection, condition: LiteralString, parameters: Mapping[str, Any]) -> bool:
    row = connection.execute(condition, parameters).fetchone()
    return bool(row and row[0])
