"""Wires: connections of a watched process to the database and to outside systems.

A database connection records its statements. It is cut by shutting down its socket, so that errors come from libpq.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Self, cast

import psycopg
from psycopg import pq, sql
from psycopg.abc import RV, Params, PQGen, Query, QueryNoTemplate
from psycopg_pool import ConnectionPool
from psycopg_pool.pool import AddConnection, MaintenanceTask

from app import database as doors
from app.engine.domain import Call, Effect, Prepared
from app.errors import Transient
from app.testing.faults import Died, Point, Watch
from events import Payload


class Line(psycopg.Connection[Any]):
    """A connection of a watched process."""

    watch: Watch | None = None
    """None until the pool has configured the connection: its setup is not work of the process."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = Pen

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run any operation of the connection. Raises `Died` if the process is dead."""
        if self.watch is not None and self.watch.is_dead:
            raise Died
        return super().wait(gen, interval, timeout)

    def _exec_command(
        self, command: QueryNoTemplate, result_format: pq.Format = pq.Format.TEXT
    ) -> PQGen[pq.abc.PGresult | None]:
        # BEGIN, COMMIT and similar statements, which psycopg itself sends.
        with self.passing(command):
            return (yield from super()._exec_command(command, result_format))

    @contextmanager
    def passing(self, statement: Query) -> Iterator[None]:
        """Run the block as a statement over this connection. Raises `Died` or a connection error by the fault."""
        text = self._text(statement)
        # The pool checks a connection with an empty statement.
        if self.watch is None or not text:
            yield
            return
        is_alone = self.autocommit and self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        with self.watch.passing(Point(text, is_final=text == "COMMIT" or is_alone), self):
            yield

    def cut(self) -> None:
        """Shut the socket down. libpq detects it at the next use."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.pgconn.socket)) as wire:
            wire.shutdown(socket.SHUT_RDWR)

    def lose_answer(self) -> None:
        """Cut the connection and raise libpq's error as `psycopg.OperationalError`."""
        self.cut()
        self.pgconn.exec_(b"SELECT 1")  # libpq detects the loss only at the next use
        raise psycopg.OperationalError(self.pgconn.get_error_message())

    def _text(self, statement: Query) -> str:
        if isinstance(statement, sql.Composable):
            statement = statement.as_string(self)
        text = statement.decode() if isinstance(statement, bytes) else str(statement)
        return " ".join(text.split())


class Pen(psycopg.Cursor[Any]):
    """The cursor of a watched connection."""

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        """Run a statement."""
        with self._line.passing(query):
            return super().execute(query, params, **options)

    def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Run a statement once for each set of parameters."""
        with self._line.passing(query):
            super().executemany(query, params_seq, returning=returning)

    @contextmanager
    def copy(self, statement: Query, params: Params | None = None, **options: Any) -> Iterator[psycopg.Copy]:
        """Run COPY in either direction."""
        with self._line.passing(statement), super().copy(statement, params, **options) as copy:
            yield copy

    @property
    def _line(self) -> Line:
        return cast("Line", self.connection)


class _Pool(ConnectionPool[Line]):
    """The pool of a watched process. Once the process is dead, it gives and opens no more connections."""

    watch: Watch

    def getconn(self, timeout: float | None = None) -> Line:
        """Return a connection. Raises `Died` if the process is dead."""
        if self.watch.is_dead:
            raise Died
        return super().getconn(timeout)

    def run_task(self, task: MaintenanceTask) -> None:
        """Run a task of the pool. No new connection replaces a cut one of a dead process, unless a thread waits."""
        is_needless = self.watch.is_dead and isinstance(task, AddConnection)
        if not is_needless or self.get_stats()["requests_waiting"]:
            super().run_task(task)


@contextmanager
def pool(watch: Watch, address: str, attend: str) -> Iterator[ConnectionPool[Any]]:
    """Yield the pool of a watched process. Each connection runs the statement `attend` first. Closed at the end."""
    lines: list[Line] = []

    def join(line: Line) -> None:
        line.execute(attend)
        line.commit()
        lines.append(line)
        watch.lines.append(line)
        line.watch = watch

    made = _Pool(
        doors.conninfo(address),
        connection_class=Line,
        min_size=1,
        max_size=4,
        num_workers=1,
        open=False,
        timeout=doors.pool_timeout(address),
        configure=join,
        check=ConnectionPool.check_connection,
        name="watched",
    )
    made.watch = watch
    try:
        made.open()
        yield made
    finally:
        made.close()
        for line in lines:
            line.close()


class Outside:
    """The wire of an outside call. An effect sees only the error."""

    def cut(self) -> None:
        """Raise `Transient`."""
        raise Transient("the other side cannot be reached")

    def lose_answer(self) -> None:
        """Raise `Transient`."""
        raise Transient("the answer of the other side was lost")


def watched(effect: Effect, watch: Watch) -> Effect:
    """Return the effect with its calls, and the last step of each call, as points of the watched process."""

    async def call(prepared: Prepared, call: Call) -> Payload:
        async def still_mine() -> object:
            found = await call.still_mine()
            with watch.passing(Point(f"the last step of the call for {prepared.event.type}"), Outside()):
                return found

        with watch.passing(Point(f"the call for {prepared.event.type}", is_final=True), Outside()):
            return await effect.call(prepared, replace(call, still_mine=still_mine))

    return replace(effect, call=call)
