"""Wires: what leads from a process under watch to the database and to the outside.

A connection counts what goes over it, and drops by being shut down at its socket, so that the errors are libpq's.
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

from app import database as doors
from app.engine.domain import Call, Effect, Prepared
from app.errors import Transient
from app.testing.faults import Died, Point, Watch
from events import Payload


class Line(psycopg.Connection[Any]):
    """A connection of a watched process."""

    watch: Watch | None = None
    """None until the pool has the connection ready: what comes before is no work of the process."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = Pen

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Whatever a connection does goes through here, and a dead process does nothing. Raises `Died`."""
        if self.watch is not None and self.watch.is_dead:
            raise Died
        return super().wait(gen, interval, timeout)

    def _exec_command(
        self, command: QueryNoTemplate, result_format: pq.Format = pq.Format.TEXT
    ) -> PQGen[pq.abc.PGresult | None]:
        # BEGIN, COMMIT and their like, which psycopg sends on its own account, by a block or before a statement.
        with self.passing(command):
            return (yield from super()._exec_command(command, result_format))

    @contextmanager
    def passing(self, statement: Query) -> Iterator[None]:
        """The block runs a statement over this connection."""
        text = self._text(statement)
        # The empty one is a pool's way to look whether a connection lives.
        if self.watch is None or not text:
            yield
            return
        is_alone = self.autocommit and self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        with self.watch.passing(Point(text, is_final=text == "COMMIT" or is_alone), self):
            yield

    def cut(self) -> None:
        """Shut the socket down; libpq notices when it next uses it."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.pgconn.socket)) as wire:
            wire.shutdown(socket.SHUT_RDWR)

    def lose_answer(self) -> None:
        """Cut, and raise what libpq makes of it: `psycopg.OperationalError`."""
        self.cut()
        self.pgconn.exec_(b"SELECT 1")  # a connection that is not used does not know that it is broken
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
        """Run a statement for each of some parameters."""
        with self._line.passing(query):
            super().executemany(query, params_seq, returning=returning)

    @contextmanager
    def copy(self, statement: Query, params: Params | None = None, **options: Any) -> Iterator[psycopg.Copy]:
        """Copy in or out."""
        with self._line.passing(statement), super().copy(statement, params, **options) as copy:
            yield copy

    @property
    def _line(self) -> Line:
        return cast("Line", self.connection)


@contextmanager
def pool(watch: Watch, address: str, attend: str) -> Iterator[ConnectionPool[Any]]:
    """The connections of a watched process, each of which runs the statement `attend` first; closed at the end."""
    lines: list[Line] = []

    def join(line: Line) -> None:
        line.execute(attend)
        line.commit()
        lines.append(line)
        watch.lines.append(line)
        line.watch = watch

    made: ConnectionPool[Line] = ConnectionPool(
        doors.conninfo(address),
        connection_class=Line,
        min_size=1,
        max_size=4,
        num_workers=1,
        open=True,
        timeout=doors.pool_timeout(address),
        configure=join,
        check=ConnectionPool.check_connection,
        name="watched",
    )
    try:
        yield made
    finally:
        made.close()
        for line in lines:
            line.close()


class Outside:
    """The wire of an outside call, which an effect knows by the error alone."""

    def cut(self) -> None:
        """Raise `Transient`."""
        raise Transient("the other side cannot be reached")

    def lose_answer(self) -> None:
        """Raise `Transient`."""
        raise Transient("the answer of the other side was lost")


def watched(effect: Effect, watch: Watch) -> Effect:
    """The effect, its calls and the last step of each being points of the watched process."""

    async def call(prepared: Prepared, call: Call) -> Payload:
        async def still_mine() -> object:
            found = await call.still_mine()
            with watch.passing(Point(f"the last step of the call for {prepared.event.type}"), Outside()):
                return found

        with watch.passing(Point(f"the call for {prepared.event.type}", is_final=True), Outside()):
            return await effect.call(prepared, replace(call, still_mine=still_mine))

    return replace(effect, call=call)
