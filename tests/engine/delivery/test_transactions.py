"""Transactions of deliveries: time-outs, and repetition after a conflict."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors as pg

from app.context import Connection
from app.engine.delivery.transactions import retry_on_conflict, set_timeouts, timeouts
from app.errors import Transient
from app.settings import using
from tests.helpers.support import scalar

RUNS = 5


def failing(errors: list[Exception]) -> tuple[Callable[[], int], list[None]]:
    """Return a transaction that raises each of these errors once and then returns 7, and the list of its runs."""
    runs: list[None] = []

    def transaction() -> int:
        runs.append(None)
        if errors:
            raise errors.pop(0)
        return 7

    return transaction, runs


@pytest.mark.parametrize("kind", [pg.DeadlockDetected, pg.SerializationFailure])
@pytest.mark.parametrize("conflicts", [0, 1, RUNS - 1])
def test_a_conflict_is_repeated(kind: type[psycopg.Error], conflicts: int) -> None:
    """The result of the run that succeeds is returned."""
    transaction, runs = failing([kind() for _ in range(conflicts)])
    assert retry_on_conflict(transaction) == 7
    assert len(runs) == conflicts + 1


def test_the_last_conflict_is_raised() -> None:
    """There are five runs at most."""
    transaction, runs = failing([pg.DeadlockDetected() for _ in range(RUNS)])
    with pytest.raises(pg.DeadlockDetected):
        retry_on_conflict(transaction)
    assert len(runs) == RUNS


@pytest.mark.parametrize(
    "error", [Transient("x"), pg.LockNotAvailable(), pg.QueryCanceled(), psycopg.OperationalError()]
)
def test_another_error_is_raised_at_once(error: Exception) -> None:
    """A repetition would not help, or would wait as long again."""
    transaction, runs = failing([error])
    with pytest.raises(type(error)):
        retry_on_conflict(transaction)
    assert len(runs) == 1


def test_time_outs_end_with_the_transaction(connection: Connection) -> None:
    """They are those of the settings, for locks and for statements."""
    with using(lock_patience=1.5, handler_timeout=20):
        assert timeouts() == ["1500ms", "20000ms"]
        before = scalar(connection, "SHOW lock_timeout"), scalar(connection, "SHOW statement_timeout")
        with connection.transaction():
            set_timeouts(connection)
            assert scalar(connection, "SHOW lock_timeout") == "1500ms"
            assert scalar(connection, "SHOW statement_timeout") == "20s"
        assert (scalar(connection, "SHOW lock_timeout"), scalar(connection, "SHOW statement_timeout")) == before
