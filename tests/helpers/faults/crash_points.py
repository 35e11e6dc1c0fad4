"""Watch workers at statements and calls, and let them crash there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

from app import database as doors
from app.context import Connection


class Died(psycopg.OperationalError):
    """The worker crashed. The rest of it sees a broken connection."""


@dataclass(slots=True)
class CrashPoint:
    """What happens to workers between statements and around calls.

    A worker crashes after `left` statements; None: never. `watches` is called with every statement and its connection,
    and with every call.
    """

    left: int | None = None
    watches: Callable[[str, Connection | None], None] | None = None

    def step(self, statement: str, connection: Connection) -> None:
        """Note that a worker is about to run a statement."""
        self.pass_by(statement, connection)
        if self.left is None:
            return
        if self.left <= 0:
            connection.close()
            raise Died
        self.left -= 1

    def pass_by(self, place: str, connection: Connection | None = None) -> None:
        """Note that a worker is at some place."""
        if self.watches is not None:
            self.watches(place, connection)


def mortal_pool(url: str, crash_point: CrashPoint) -> ConnectionPool[Connection]:
    """Return a pool whose statements count down to a crash point."""

    class Mortal(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            crash_point.step(str(query), self.connection)
            return super().execute(query, *arguments, **options)

    def configure(connection: Connection) -> None:
        connection.cursor_factory = Mortal

    return ConnectionPool(doors.conninfo(url), min_size=2, max_size=4, configure=configure, open=True, timeout=30)
