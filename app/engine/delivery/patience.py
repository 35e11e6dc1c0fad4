"""Patience: how long a delivery's transaction waits for others, and how often it is repeated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from app.context import Connection
from app.engine.delivery.retry import is_conflict
from app.settings import settings

_FREE_RETRIES = 5
_LIMIT = "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)"


def limits() -> list[str]:
    """The lock and statement time-outs of a transaction that delivers events, as PostgreSQL's settings."""
    given = settings()
    return [f"{1000 * seconds:.0f}ms" for seconds in (given.lock_patience, given.handler_timeout)]


def limit_waits(connection: Connection) -> None:
    """Let the rest of the transaction wait no longer than `limits()`."""
    connection.execute(_LIMIT, limits())


def patiently(transaction: Callable[[], int]) -> int:
    """Repeat a transaction that a deadlock or the like ended: that says nothing about its events."""
    for retry in range(_FREE_RETRIES):
        try:
            return transaction()
        except Exception as error:
            if not is_conflict(error) or retry == _FREE_RETRIES - 1:
                raise
            time.sleep(random.uniform(0, 0.05) * 2**retry)
    raise AssertionError
