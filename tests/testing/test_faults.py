"""Faults: what the tested code sees of them, and what the database does."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from app.context import Connection
from app.engine.delivery.retry import is_disconnect
from app.testing import wires
from app.testing.faults import Died, Fault, Point, Strike, Watch
from tests.conftest import Database
from tests.helpers.support import scalar

pytestmark = pytest.mark.usefixtures("outside")

ATTEND = "SELECT 1"
INSERT = "INSERT INTO toy.heard (word) VALUES ('a')"
COUNT = "SELECT count(*) FROM toy.heard"


def test_every_statement_is_a_crash_point(database: Database) -> None:
    """Statements of every kind and transaction blocks, but no check of whether a connection is alive."""
    watch = Watch()
    with wires.pool(watch, database.url, ATTEND) as pool:
        with pool.connection() as connection, connection.transaction():
            connection.execute(sql.SQL("SELECT\n  {}").format(1))
            with connection.transaction():
                connection.cursor().executemany("SELECT %s", [[1], [2]])
            with connection.cursor().copy("COPY (SELECT 1) TO STDOUT") as copy:
                assert list(copy.rows()) == [("1",)]
        with pool.connection() as connection:
            connection.execute("")
    assert [point.text for point in watch.points] == [
        "BEGIN",
        "SELECT 1",
        'SAVEPOINT "_pg3_2"',
        "SELECT %s",
        'RELEASE "_pg3_2"',
        "COPY (SELECT 1) TO STDOUT",
        "COMMIT",
        "BEGIN",
        "COMMIT",
    ]
    assert [point.text for point in watch.points if point.is_final] == ["COMMIT", "COMMIT"]


def test_a_statement_in_no_transaction_is_final(database: Database, connection: Connection) -> None:
    """It is committed, whether or not its answer arrives."""
    watch = Watch(Strike(Fault.ANSWER_LOST, 0))
    with wires.pool(watch, database.url, ATTEND) as pool, pool.connection() as line:
        line.autocommit = True
        with pytest.raises(psycopg.OperationalError) as lost:
            line.execute(INSERT)
    assert is_disconnect(lost.value)
    assert watch.points == [Point(INSERT, is_final=True)]
    assert scalar(connection, COUNT) == 1


@pytest.mark.parametrize(("fault", "rows"), [(Fault.DROPS, 0), (Fault.ANSWER_LOST, 1)])
def test_a_connection_breaks_at_the_commit(database: Database, connection: Connection, fault: Fault, rows: int) -> None:
    """The error is the same in both cases, and the pool's next connection works."""
    watch = Watch(Strike(fault, {Fault.DROPS: 2, Fault.ANSWER_LOST: 0}[fault]))
    with wires.pool(watch, database.url, ATTEND) as pool:
        with pytest.raises(psycopg.OperationalError) as broken, pool.connection() as line:
            line.execute(INSERT)
        assert is_disconnect(broken.value)
        with pool.connection() as line:
            assert scalar(line, COUNT) == rows
    assert watch.struck == 2


def careless(line: Connection, other: Connection) -> None:
    """Write, and commit after any error."""
    other.execute(INSERT)
    line.execute(INSERT)
    with suppress(Exception):
        try:
            line.execute(INSERT)
        finally:
            other.commit()


def test_a_crashed_worker_does_nothing(database: Database, connection: Connection) -> None:
    """On any connection, even if code catches the error. The server rolls back what was open."""
    watch = Watch(Strike(Fault.DIES_BEFORE, 4))
    with wires.pool(watch, database.url, ATTEND) as pool:
        with pytest.raises(Died), pool.connection() as other, pool.connection() as line:
            careless(line, other)
        with pytest.raises(Died), pool.connection() as line:
            line.execute(INSERT)
    assert watch.struck == 4
    assert scalar(connection, COUNT) == 0
