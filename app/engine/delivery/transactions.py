"""Transactions of deliveries: their time-outs, and their repetition after a conflict."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from app.context import Connection
from app.engine.delivery.retry import is_conflict
from app.settings import settings

_FREE_RETRIES = 5
_LIMIT = "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)"


def timeouts() -> list[str]:
    """Return the lock and statement time-outs of a delivery's transaction, as values of PostgreSQL's settings."""
    given = settings()
    return [f"{1000 * seconds:.0f}ms" for seconds in (given.lock_patience, given.handler_timeout)]


def set_timeouts(connection: Connection) -> None:
    """Set `timeouts()` for the rest of the transaction."""
    connection.execute(_LIMIT, timeouts())


def retry_on_conflict(transaction: Callable[[], int]) -> int:
    """Repeat a transaction that ended in a deadlock or serialization failure: at most five runs in all.

    Returns its result.
    """
    for retry in range(_FREE_RETRIES):
        try:
            return transaction()
        except Exception as error:
            if not is_conflict(error) or retry == _FREE_RETRIES - 1:
                raise
            time.sleep(random.uniform(0, 0.05) * 2**retry)
    raise AssertionError
